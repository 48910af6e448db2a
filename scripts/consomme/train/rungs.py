"""A run of a sweep that stops runs early: whether it goes on after a rung, and from what.

A job of a later rung has the run at the rung before (`rung/RUN`) and the choice there (`choice/NODE`) among its inputs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from consomme.common import mirror
from consomme.common.digest import digest
from consomme.common.errors import ConsommeError
from consomme.common.files import copy_tree, link_file, link_tree, read_json, write_json
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.provenance import NAME, model_content
from consomme.train import checkpoints
from consomme.train.trackers import TENSORBOARD

PROGRESS = "progress.jsonl"


def at_home(job: Job) -> Job:
    """The job with the state of its training, wherever it is needed: in the folder NODE-DIGEST beside the given one, whose name
    also holds the choices that let the run go on, or found its values. So it is found again when others take part in the
    sweep."""
    if not (_at_rung(job) or job.labelled("study")):
        return job
    return replace(job, state=_state(job, job.spec["digest"]))


def _state(job: Job, known: str) -> Path:
    """The folder of the state of the training with a digest."""
    return job.state.parent / "-".join(filter(None, [job.spec.get("label", {}).get("node"), known]))


def ended(job: Job) -> dict[str, Any] | None:
    """Why the run has ended at an earlier rung: {"stopped": {step, rank, of, keep, metric, score}} or {"diverged": ...}, as in
    its provenance. None if it goes on, or has no earlier rung."""
    if not (at := _at_rung(job)):
        return None
    record = read_json(at / NAME)
    if found := {key: record[key] for key in ("diverged", "stopped") if key in record}:
        return found
    choices = list(job.labelled("choice").values())
    if len(choices) != 1:
        raise ConsommeError(f"inputs: one choice/NODE is needed beside rung/RUN; the inputs are {list(job.inputs)}")
    chosen = read_json(choices[0] / NAME)["chosen"]
    ranked = [one["digest"] for one in chosen["ranked"]]
    if record["digest"] not in ranked:
        raise ConsommeError(f"{choices[0]}: this choice was among other runs than {at}")
    rank = ranked.index(record["digest"])
    if rank < chosen["keep"]:
        return None
    place = {"step": record["steps"], "rank": rank + 1, "of": len(ranked), "keep": chosen["keep"]}
    return {"stopped": {**place, "metric": chosen["metric"], "score": chosen["ranked"][rank]["score"]}}


def identity(job: Job, why: dict[str, Any]) -> dict[str, Any]:
    """What the result of a run that has ended depends on."""
    at = _at_rung(job)
    return {"digest": job.spec["digest"], "rung": model_content(at) if at else None, **why}


def stay(job: Job, why: dict[str, Any], folder: Path) -> None:
    """Fill `folder` with the model of the run's last rung, and say why in its provenance."""
    if not (at := _at_rung(job)):
        raise ValueError("the job has no earlier rung")
    for path in sorted(p for p in at.rglob("*") if p.is_file() and p != at / NAME):
        (folder / path.relative_to(at)).parent.mkdir(parents=True, exist_ok=True)
        link_file(path, folder / path.relative_to(at))
    write_json(folder / NAME, read_json(at / NAME) | {"digest": job.spec["digest"], **why})
    say(words(why))


def words(why: dict[str, Any]) -> str:
    """Why a run has ended, in words."""
    if "stopped" not in why:
        return f"diverged at step {why['diverged']['step']}"
    stopped = why["stopped"]
    return (
        f"stopped at step {stopped['step']}: number {stopped['rank']} of {stopped['of']} runs by {stopped['metric']}, of which "
        f"{stopped['keep']} went on"
    )


def bring(job: Job, key: Callable[[str], dict[str, Any]], work: Path) -> None:
    """Bring the state that the run had at the rung before into `work`, unless it has got further there already. key: the
    digest of a training's settings -> everything that it depends on. Without that state the run trains from its start, to
    the same result."""
    if not (at := _at_rung(job)) or checkpoints.newest(work / "checkpoints"):
        return
    known = read_json(at / NAME)["digest"]
    mirror.bring(_state(job, known))
    saved = checkpoints.newest(_state(job, known) / digest(key(known)) / "work" / "checkpoints")
    if not saved:
        say(f"the state that the run had at {at} is not there any more: it trains from its start")
        return
    shutil.copyfile(at / PROGRESS, work / PROGRESS)
    if (at / TENSORBOARD).is_dir():
        # of a start that was killed here, they are there; finished files are read-only, and these are written on
        copy_tree(at / TENSORBOARD, work / TENSORBOARD)
    link_tree(saved, work / "checkpoints" / f".{saved.name}")
    for path in checkpoints.remembered(saved.parent).values():
        (work / "checkpoints" / path.name).unlink(missing_ok=True)  # of a start that was killed here
        link_file(path, work / "checkpoints" / path.name)
    (work / "checkpoints" / f".{saved.name}").rename(work / "checkpoints" / saved.name)


def leave(work: Path, checkpoint: bool) -> None:
    """Empty `work`, the files in it last. checkpoint: but for the checkpoint from which the run goes on, and weights for the
    case that it diverges."""
    for path in sorted(work.iterdir(), key=Path.is_file):
        if path.is_file():
            path.unlink()
        elif not (checkpoint and path.name == "checkpoints"):
            shutil.rmtree(path)
        else:
            checkpoints.make_room(path)


def _at_rung(job: Job) -> Path | None:
    return next(iter(job.labelled("rung").values()), None)
