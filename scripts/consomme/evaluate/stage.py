"""The evaluate stage: the hypotheses of a model for every development and test set, stored raw, with a log line of scores per
set."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from consomme.common.digest import digest
from consomme.common.files import hash_file, read_json, read_text, write_json, write_text
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.provenance import model_content, weights_hash
from consomme.data.overlap import refuse_twins
from consomme.evaluate.evaluator import Evaluator, Said, rows_of
from consomme.evaluate.left_out import share
from consomme.evaluate.metrics import counted_for
from consomme.evaluate.ways import TIMESTAMPS, sane, ways
from consomme.families.base import Segment
from consomme.families.ensemble import FILE as ENSEMBLE
from consomme.formats import exported_as
from consomme.register import chain

# a set -> the hypotheses of its rows, and the rows that the model can't take with the reason
Answers = Callable[[str], tuple[Said, dict[int, str]]]


def run(job: Job) -> None:
    """Write SPLIT/SET@DECODING.jsonl beside `job.out` for every set of the spec, then the index `job.out`.

    A set's entry in the index has the hash of its file, `content`, and names, by id, the rows that the model could not take, `unheard`: id -> reason, and those whose
    hypothesis was cut at the most tokens that were allowed, `cut`. Neither key is there where there are none. `register` of
    a test set is the hash of the last line of the claims' register when it was decoded, if there was one.

    Test sets are decoded in the other `ways`, too: a model trained on short windows, with the full window; where the
    experiment's trainings use them, behind previous text and with timestamps. Such an entry names its `way`, and that of
    timestamps has in `sane` the number of rows whose timestamps can be right, and its file the segments of each row.
    A set is skipped if its file was written for the same model, languages, rows and decoding by this version of the stage and
    has not changed; if that holds for all sets, no model is loaded. If the spec has `apart` (replicates evaluate the same
    model on different rows), the files are one folder deeper, in a folder named like `job.out`."""
    folder, state = job.out.parent, job.state
    if job.spec.get("apart"):
        folder, state = job.out.with_suffix(""), job.state / job.out.stem
    (model,) = job.labelled("model").values()
    weights = weights_hash(model)
    sets = {(split, name): corpora for split, s in job.spec["sets"].items() for name, corpora in s.items()}
    rows = {place: rows_of(job, corpora) for place, corpora in sets.items()}
    refuse_twins(*({name: found for (split, name), found in rows.items() if split == s} for s in ("dev", "test")))
    said_by = digest([model_content(model), job.spec["languages"]], 32)
    known = _known(state, said_by, job.spec["version"])
    mark = chain.read(job.out.absolute().parent.parent.parent / chain.NAME).head
    names, decodings = {job.spec["decoding_digest"]: ""}, {job.spec["decoding_digest"]: _Lazy(job, model, rows)}
    others = ways(job.spec["decoding"], job.spec.get("besides", ()), model) if job.spec.get("ways", True) else {}
    for way, given in others.items():
        names[digest(given, 8)] = way
        decodings[digest(given, 8)] = _Lazy(replace(job, spec={**job.spec, "decoding": given}), model, rows)
    index = []
    for (split, name), decoding in product(sets, decodings):
        if split == "dev" and decoding != job.spec["decoding_digest"]:
            continue
        corpora, asked = sets[split, name], decodings[decoding]
        found = rows[split, name]
        path = folder / split / f"{name}@{decoding}.jsonl"
        entry: dict[str, Any] = {
            "split": split,
            "set": name,
            "decoding": decoding,
            "path": Path(os.path.relpath(path)).as_posix(),
            "n": len(found),
            "corpora": list(corpora),
            "fingerprint": found.fingerprint,
        }
        if way := names[decoding]:
            entry["way"] = way
        if by := found.reported_by:
            entry["by"] = by  # a report of other values is another report
        earlier = known.get((split, name, decoding))
        if earlier and _identity(earlier) == _identity(entry):
            # only the line feed ends a line: splitlines() would also cut at characters that occur inside one
            lines = read_text(path).removesuffix("\n").split("\n")
            said = [json.loads(line)["hypothesis"] for line in lines]
            entry |= {key: earlier[key] for key in ("unheard", "cut", "sane", "register") if key in earlier}
        else:
            (said, cut, segments), unheard = asked.answers(split, name)
            if mark and split == "test":
                entry["register"] = mark
            if unheard:
                entry["unheard"] = {found.ids[i]: reason for i, reason in unheard.items()}
            if cut:
                entry["cut"] = [found.ids[i] for i in cut]
            more: Sequence[dict[str, Any]] = [{}] * len(found)
            if way == TIMESTAMPS:
                timed = [[Segment(*one) for one in row] for row in segments]
                entry["sane"] = sum(map(sane, timed, found.seconds.tolist()))
                more = [{"segments": row} for row in timed]
            text = "".join(
                json.dumps({"id": i, "reference": r, "hypothesis": h, **m}, ensure_ascii=False) + "\n"
                for i, r, h, m in zip(found.ids, found.targets, said, more, strict=True)
            )
            if not path.exists() or read_text(path) != text:
                write_text(path, text)
        how = f" ({way})" if way else ""
        odd = [f", {share(len(entry[key]), len(found))} {key}" for key in ("unheard", "cut") if key in entry]
        if "sane" in entry:
            odd.append(f", sane timestamps in {share(entry['sane'], len(found))}")
        say(f"{split} {name}{how}: {_scores(job, found, said)} ({len(found)} utterances{''.join(odd)})")
        index.append(entry)
    for entry in index:
        entry["content"] = hash_file(entry["path"])
    for path in (job.out, state / "index.json"):
        write_json(path, {"weights": weights, "by": said_by, "version": job.spec["version"], "sets": index})
    _void(job.out, index)


class _Lazy:
    """The model and its evaluator, loaded when the first set needs them."""

    def __init__(self, job: Job, folder: Path, rows: dict[tuple[str, str], Any]) -> None:
        self.job, self.folder, self.rows = job, folder, rows
        self.loaded: Answers | None = None

    def answers(self, split: str, name: str) -> tuple[Said, dict[int, str]]:
        """The hypotheses of a set, and the rows that the model can't take with the reason."""
        asked = f"{split} {name}"
        if self.loaded is None:
            import torch

            torch.set_num_threads(self.job.threads)
            sets = {f"{s} {n}": rows for (s, n), rows in self.rows.items()}
            self.loaded = _deployed(self.job, sets, self.folder) or _loaded(self.job, sets, self.folder)
        return self.loaded(asked)


def _deployed(job: Job, sets: dict[str, Any], folder: Path) -> Answers | None:
    """What an export says, by its own engine, or a checkpoint by the engine that the decoding names; None of others."""
    from consomme.evaluate.deployed import Deployed, check, converted

    named = None if (folder / ENSEMBLE).is_file() else job.spec["decoding"].get("engine")
    if exported_as(folder):
        deployed = Deployed.open(job, sets, folder)
    elif named:
        job.state.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=job.state, prefix="engine-") as place:  # engines keep all of a model in memory
            converted(folder, named, Path(place))
            deployed = Deployed.open(job, sets, Path(place))
            check(deployed, job, next(iter(sets.values())), folder)
    else:
        return None
    return lambda asked: (deployed.hypotheses(asked), deployed.unheard(asked))


def _loaded(job: Job, sets: dict[str, Any], folder: Path) -> Answers:
    """What a checkpoint says, loaded by transformers."""
    from consomme.families import load

    evaluator = Evaluator.open(job, sets, folder)
    model = load(folder, evaluator.device)
    return lambda asked: (evaluator.hypotheses(model, asked), evaluator.inputs(asked).unheard(model))


def _known(state: Path, said_by: str, version: int) -> dict[tuple[str, str, str], dict[str, Any]]:
    """By (split, set, decoding): the entries of an earlier run that asked the same model, in the same languages, and whose files
    have not changed since.

    The index is kept in the state folder too: Snakemake removes a job's outputs before it starts the job again."""
    index = state / "index.json"
    if not index.exists():
        return {}
    earlier = read_json(index)
    if earlier.get("by") != said_by or earlier.get("version", 1) != version:
        return {}
    kept = [e for e in earlier["sets"] if Path(e["path"]).exists() and hash_file(e["path"]) == e.get("content")]
    return {(e["split"], e["set"], e["decoding"]): e for e in kept}


def _void(out: Path, index: Sequence[dict[str, Any]]) -> None:
    """Remove the other indices beside `out` that name one of its files with what that held before: of another configuration,
    under which the set has other rows. Who goes back to that one needs the file anew."""
    now = {entry["path"]: entry["content"] for entry in index}
    for other in out.parent.glob("*.json"):
        if other == out:
            continue
        if any(now.get(e["path"], e.get("content")) != e.get("content") for e in read_json(other).get("sets", ())):
            other.unlink()


def _identity(entry: dict[str, Any]) -> dict[str, Any]:
    # the ids of rows of several corpora have the names of these
    return {key: entry[key] for key in ("decoding", "path", "n", "corpora", "fingerprint")}


def _scores(job: Job, rows: Any, said: list[str]) -> str:
    scores = []
    written = rows.written(job.spec["languages"])
    for metric in counted_for(job.spec["task"], written):
        counted = metric.of_rows(rows.targets, said, job.spec["normaliser"], written)
        scores.append(f"{metric.name} {float(metric.value(counted.sum(axis=0))):.2f}")
    return ", ".join(scores)
