"""The state of every job of a plan, read from results/: outputs, locks, progress files, logs.

A job with a state folder holds a lock while it runs, also on another machine of a shared file system. Evaluations, landscapes
and tables have none: they run if their log is young. Nothing is written, and no scheduler is asked."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from consomme.common.files import read_json
from consomme.common.once import held
from consomme.plan import trials
from consomme.plan.items import RESULTS, Model
from consomme.plan.plan import Plan, Study
from consomme.plan.selection import run_name

RUNNING, FAILED, INTERRUPTED, WAITING, DIVERGED, DONE = (
    "running",
    "failed",
    "interrupted",
    "waiting",
    "diverged",
    "done",
)
STATES = (RUNNING, FAILED, INTERRUPTED, WAITING, DIVERGED, DONE)  # in the order of the table
YOUNG = 600.0  # seconds; the log of a job without a lock that has written nothing for so long belongs to a killed one
TAIL = 16_384  # bytes of a progress file or a log that are read
LINES = 20  # of progress, whose speed is shown
INTERRUPTION = "interrupted by "  # what a training says that has saved and ended


@dataclass(frozen=True)
class Progress:
    """How far a training is."""

    step: int
    steps: int | None = None
    loss: float | None = None
    rate: float | None = None  # steps a second
    device: str = ""

    @property
    def left(self) -> float | None:
        """Seconds until the last step."""
        return (self.steps - self.step) / self.rate if self.steps and self.rate else None


@dataclass(frozen=True)
class Job:
    """One job. node: what jobs of one kind are counted by; why: the last line of a failed one's log; values: what Optuna has
    found for the run that it makes, or goes on with."""

    experiment: str
    verb: str
    node: str
    name: str
    state: str
    progress: Progress | None = None
    why: str = ""
    values: str = ""


def jobs(plan: Plan) -> list[Job]:
    """Every job of the plan, in the order of the plan."""
    found = [_corpus(c.name, c.id, c.marker) for c in plan.corpora.values()]
    for study in plan.studies.values():
        found += _study(study)
    return found


def _study(study: Study) -> Iterator[Job]:
    several = len(study.graphs) > 1
    logs = Path(study.folder) / "logs"

    def named(model: Model) -> str:
        rung = f" to step {model.identity['until']}" if "until" in model.identity else ""
        return f"{model.name}{rung}" + (f" #{model.replicate}" if several else "")

    for model in {m.id: m for m in study.jobs}.values():
        yield replace(_model(model, named(model), logs), values=run_name(trials.values(model)))
    for evaluation in {e.path: e for e in study.evaluations}.values():
        log = logs / "evaluate" / f"{evaluation.model.id}.{evaluation.digest}.log"
        state, why = _without_lock(Path(evaluation.path), log)
        yield Job(study.name, "evaluate", evaluation.model.node, named(evaluation.model), state, why=why)
    for landscape in {s.path: s for s in study.landscapes}.values():
        state, why = _without_lock(Path(landscape.path), logs / "landscape" / f"{landscape.digest}.log")
        yield Job(study.name, "landscape", landscape.node, landscape.node, state, why=why)
    for verb, output in (("costs", "costs.tsv"), ("report", "report.html")):
        state, why = _without_lock(Path(study.folder) / output, logs / f"{verb}.log")
        yield Job(study.name, verb, "", "", state, why=why)


def _corpus(name: str, id: str, marker: str) -> Job:
    folder = Path(RESULTS) / "prepared"
    state, why = _with_lock(Path(marker), folder / "state" / id, folder / "logs" / f"{id}.log")
    if state != DONE:
        state, why = _parts(folder, id, state, why)
    return Job("", "prepare", name, name, state, why=why)


def _parts(folder: Path, id: str, state: str, why: str) -> tuple[str, str]:
    """State and reason of a corpus that isn't there yet, with what its parts tell."""
    logs = sorted((folder / "logs").glob(f"{id}.*-of-*.log")) if state != RUNNING else []
    if failed := next((end for log in logs if (end := _unfinished(log, WAITING))[0] == FAILED), None):
        return failed
    there = Counter(marker.parts[-3] for marker in (folder / "parts" / id).glob("*/*/prepared.json"))
    told = ", ".join(f"{n} of {count} parts there" for count, n in there.items())
    return INTERRUPTED if told and state == WAITING else state, why or told


def _model(model: Model, name: str, logs: Path) -> Job:
    place = Path(f"{RESULTS}/{model.experiment}/state/{model.state_id}")
    state, why = _with_lock(Path(model.marker), place, logs / model.stage / f"{model.id}.log")
    verb = "choose" if model.run == "best" and model.stage == "average" else model.verb
    if model.stage == "average" and state == DONE:
        left_out = read_json(model.marker).get("left_out") or {}
        why = "; ".join(f"without {one}: {reason}" for one, reason in left_out.items())
    if model.stage != "train":
        return Job(model.experiment, verb, model.node, name, state, why=why)
    if state == DONE:
        record = read_json(model.marker)
        progress = _progress(Path(model.folder), {"steps": record.get("steps")})
        if what := record.get("diverged"):
            return Job(model.experiment, verb, model.node, name, DIVERGED, progress, f"at step {what['step']}")
        stopped = f"stopped at step {record['stopped']['step']}" if "stopped" in record else ""
        return Job(model.experiment, verb, model.node, name, state, progress, stopped)
    work = max(place.glob("*/work"), key=lambda p: p.stat().st_mtime, default=place)
    begun = work / "running.json"
    progress = _progress(work, read_json(begun) if begun.is_file() else {})
    return Job(model.experiment, verb, model.node, name, state, progress, why)


# -- states ------------------------------------------------------------------------------------------------------------
def _with_lock(output: Path, place: Path, log: Path) -> tuple[str, str]:
    """State and reason of a job with a state folder."""
    if any(map(held, place.glob("*/lock"))):
        return RUNNING, ""
    if output.exists():
        return DONE, ""
    begun = any(any(work.iterdir()) for work in place.glob("*/work"))
    return _unfinished(log, INTERRUPTED if begun or log.exists() else WAITING)


def _without_lock(output: Path, log: Path) -> tuple[str, str]:
    """State and reason of a job of which only output and log are known."""
    if output.exists():
        return DONE, ""
    if not log.exists():
        return WAITING, ""
    return _unfinished(log, RUNNING if time.time() - log.stat().st_mtime < YOUNG else INTERRUPTED)


def _unfinished(log: Path, otherwise: str) -> tuple[str, str]:
    """FAILED with the reason if the log ends with one, else `otherwise`, perhaps with what was saved."""
    last = next((line for line in reversed(_tail(log)) if line.strip()), "")
    if INTERRUPTION in last:
        return INTERRUPTED, last[last.index(INTERRUPTION) :]
    failed = last.startswith(("error:", "Traceback")) or _is_exception(last)
    return (FAILED, last) if failed else (otherwise, "")


def _is_exception(line: str) -> bool:
    """Whether a line is the last one of a traceback: `torch.OutOfMemoryError: ...`."""
    name = line.partition(":")[0]
    return name.replace(".", "").replace("_", "").isalnum() and name.endswith(("Error", "Exception", "Interrupt"))


# -- progress ----------------------------------------------------------------------------------------------------------
def _progress(folder: Path, begun: Mapping[str, Any]) -> Progress | None:
    """What the newest lines of a training's progress file say. begun: its running.json."""
    entries = [e for e in map(_parsed, _tail(folder / "progress.jsonl")) if "loss" in e]
    device = " on ".join(filter(None, [begun.get("device"), begun.get("host")]))
    if not entries:
        return Progress(begun.get("first", 0), begun.get("steps"), device=device) if begun else None
    last, first = entries[-1], begun.get("first", 0)
    present = [(first, 0.0), *((e["step"], e["seconds"]) for e in entries if e["step"] > first)][-LINES:]
    (step, seconds), (step_now, seconds_now) = present[0], present[-1]
    rate = (step_now - step) / (seconds_now - seconds) if seconds_now > seconds else None
    return Progress(last["step"], begun.get("steps"), last["loss"], rate, device)


def _parsed(line: str) -> dict[str, Any]:
    try:
        return json.loads(line)
    except ValueError:  # begun before what was read, or cut off by a kill
        return {}


def _tail(path: Path) -> list[str]:
    """The last lines of a file; none if it isn't there."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - TAIL))
            return stream.read().decode(errors="replace").splitlines()
    except OSError:
        return []
