"""Stages on a disk that fails at the 1st, 2nd, 3rd ... call of a kind: `python tests/faults/sweep.py [--calls all] [--table]`.

Each trial starts from the results that the stage would find, runs it in a fork with one call failing, looks at what is visible,
runs it again undisturbed, and compares everything with what a run without faults leaves. Without --calls each stage meets a few
faults, the next stage others. --table prints the counts for docs/results/faults.md. It exits with 1 if anything went wrong, and
says what."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import itertools
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

import failing
import stages

LIGHT = ("consomme.common.stage", "consomme.register.chain")
HEAVY = ("consomme.train.stage", "consomme.train.trainer", "consomme.evaluate.evaluator", "consomme.report.write")
MARKERS = ("provenance.json", "prepared.json")
UNLIKE = ("verified", "tensorboard")  # folders of files that hold or have times in their names
FEW = 2  # faults that a job meets without --calls


class Fault(NamedTuple):
    """A kind of call and what it is answered: once, from then on (`lasting`), or from the first on (`always`)."""

    kind: str
    error: int
    lasting: bool = False
    always: bool = False

    def __str__(self) -> str:
        when = " always" if self.always else " from then on" if self.lasting else ""
        return f"{self.kind}: {errno.errorcode[self.error]}{when}"


FAULTS = (
    Fault("write", errno.ENOSPC, lasting=True),
    Fault("write", errno.EIO),
    Fault("close", errno.EDQUOT),
    Fault("create", errno.EROFS, lasting=True),
    Fault("create", errno.EACCES),
    Fault("rename", errno.EIO),
    Fault("rename", errno.EPERM, lasting=True),
    Fault("link", errno.EIO),
    Fault("fsync", errno.EIO),
    Fault("read", errno.EIO),
    # what some file systems never have
    Fault("link", errno.EPERM, always=True),
    Fault("lock", errno.ENOLCK, always=True),
    Fault("chmod", errno.EPERM, always=True),
)

Tree = Mapping[str, bytes]  # path -> what the file holds


class Case(NamedTuple):
    """A job, a folder with what it starts from, the files then and afterwards, and those that differ between two runs anyway."""

    job: stages.Job
    before: Path
    start: Tree
    end: Tree
    loose: frozenset[str]


class Trial(NamedTuple):
    """What came of one fault. wrong: empty if all was well."""

    case: str
    fault: Fault
    nth: int
    status: int
    wrong: str


def main() -> int:
    """Try faults on all jobs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", help="how many calls of each kind, spread over the job, or all")
    parser.add_argument("--kind", choices=failing.KINDS, help="one kind of call")
    parser.add_argument("--table", action="store_true", help="print the counts as a table")
    parser.add_argument("--only", default="", help="files, stages, or one stage")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        if not failing.loaded():
            if (library := failing.compiled(Path(folder))) is None:
                raise SystemExit("there is no C compiler here")
            return os.spawnve(os.P_WAIT, sys.executable, [sys.executable, *sys.argv], failing.loading(library))
        place, trials = Path(folder).resolve() / "place", list[Trial]()
        deck = itertools.cycle(FAULTS)
        for case in cases(place, given.only):
            began, before = time.monotonic(), len(trials)
            faults = FAULTS if given.calls else [next(deck) for _ in range(FEW)]
            faults = [fault for fault in faults if given.kind in (None, fault.kind)]
            trials += tried(case, place, faults, given.calls)
            said = f"{case.job.stage}, {case.job.name}: {len(trials) - before} faults, {time.monotonic() - began:.1f} s"
            print(said, file=sys.stderr, flush=True)
    if given.table:
        print(table(trials))
    wrong = [trial for trial in trials if trial.wrong]
    for trial in wrong:
        print(f"{trial.case}, {trial.fault} at {trial.nth}: status {trial.status}: {trial.wrong}")
    print(f"{len(trials)} faults, {len(wrong)} of them went wrong")
    return int(bool(wrong))


# -- cases -------------------------------------------------------------------------------------------------------------
def cases(place: Path, only: str) -> Iterator[Case]:
    """The jobs to try, each with what is there when it starts."""
    if only in ("", "files"):
        load(LIGHT)
        for job in stages.files():
            fill(place, None)
            run(job, place)
            yield case(job, place)
    if only != "files":
        load(HEAVY)
        fill(place, None)
        with contextlib.chdir(place):
            jobs = stages.jobs()
        for job in jobs:
            if job.tried and only in ("", "stages", job.stage):
                found = case(job, place)
                yield found
                fill(place, found.before)
            run(job, place)


def case(job: stages.Job, place: Path) -> Case:
    """A job with what two undisturbed runs of it leave; those of the second stay in `place`."""
    before = place.with_name("before")
    shutil.rmtree(before, ignore_errors=True)
    shutil.copytree(place, before, symlinks=True)
    found = []
    for _ in range(2):
        fill(place, before)
        run(job, place)
        found.append(tree(place))
    loose = {path for path in found[0].keys() | found[1].keys() if found[0].get(path) != found[1].get(path)}
    return Case(job, before, tree(before), found[0], frozenset(loose))


def load(modules: Sequence[str]) -> None:
    """Import what forks shall have."""
    for name in modules:
        importlib.import_module(name)


def fill(place: Path, before: Path | None) -> None:
    """Make `place` anew, with what is in `before`."""
    if place.exists():
        shutil.rmtree(place)
    if before:
        shutil.copytree(before, place, symlinks=True)
    else:
        place.mkdir(parents=True)


def run(job: stages.Job, place: Path) -> None:
    """Run a job undisturbed. AssertionError with its words if it fails."""
    said = place.with_name("said")
    status = stages.in_a_fork(job, place, said)
    assert status == 0, f"{job.stage} {job.name} ended with {status}:\n{said.read_text()}"


def tree(place: Path) -> Tree:
    """All files below `place`; of links, where they lead."""
    paths = [path for path in place.rglob("*") if path.is_symlink() or not path.is_dir()]
    paths = [path for path in paths if path.parent.name not in UNLIKE]
    return {
        path.relative_to(place).as_posix(): os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in paths
    }


# -- trials ------------------------------------------------------------------------------------------------------------
def tried(case: Case, place: Path, faults: Sequence[Fault], most: str | None) -> Iterator[Trial]:
    """Trials of some faults: at `most` calls of each kind, at all of them, or without `most` at one drawn call."""
    counts, drawn = calls(case, place), random.Random(case.job.stage)
    for fault in faults:
        total = counts[fault.kind]
        if fault.always:
            numbers = [1]
        elif most is None:
            numbers = [drawn.randint(1, total)] if total else []
        else:
            numbers = spread(total, total if most == "all" else int(most))
        for nth in numbers:
            yield trial(case, place, fault, nth)


def calls(case: Case, place: Path) -> dict[str, int]:
    """How many calls of each kind the job makes undisturbed."""
    fill(place, case.before)
    counted = place.with_name("counted")

    def counting() -> int:
        failing.arm(failing.KINDS[0], 0, 0, False, place)
        status = case.job.run()
        counted.write_text(json.dumps({kind: failing.count(kind) for kind in failing.KINDS}))
        return status

    run(case.job._replace(run=counting), place)
    return json.loads(counted.read_text())


def spread(total: int, few: int) -> list[int]:
    """The numbers 1 to total, or a few of them with the first and the last."""
    if total <= few:
        return list(range(1, total + 1))
    return sorted({1 + i * (total - 1) // (few - 1) for i in range(few)})


def trial(case: Case, place: Path, fault: Fault, nth: int) -> Trial:
    """One fault: the job meets it, and is started again without it."""
    fill(place, case.before)
    said = place.with_name("said")
    status = stages.in_a_fork(
        case.job, place, said, lambda: failing.arm(fault.kind, nth, fault.error, fault.lasting or fault.always, place)
    )
    words = said.read_text(errors="replace")
    wrong = [*about_words(status, words, fault), *about_what_is_visible(case, tree(place), status)]
    try:
        run(case.job, place)
        wrong += about_the_end(case, tree(place))
    except AssertionError as error:
        wrong.append(f"the next run: {error}")
    return Trial(f"{case.job.stage} {case.job.name}", fault, nth, status, "; ".join(wrong))


def about_words(status: int, words: str, fault: Fault) -> Iterator[str]:
    """What is wrong with how the job ended: well in spite of the fault, or with an error in one line."""
    if status == 0 and "Traceback" not in words:
        return
    if fault.always:
        yield "what a file system never has, nothing may rest on"
    last = words.strip().splitlines()[-1] if words.strip() else ""
    why = any(part in last for part in (os.strerror(fault.error), "doesn't say why"))
    what_to_do = fault.kind == "read" or "start again: nothing that is finished is lost" in last
    if status != 2 or "Traceback" in words or not (last.startswith("error: ") and why and what_to_do):
        yield f"its words: {words[-2000:]!r}"
    elif "a file could not" in last and fault.kind != "read":
        yield f"no file is named: {last}"


def about_what_is_visible(case: Case, now: Tree, status: int) -> Iterator[str]:
    """What is wrong with what can be seen after the fault: files and finished folders are as before or as afterwards."""
    for path, content in now.items():
        parts = path.split("/")
        if path in case.loose or "work" in parts or any(part.startswith(".") for part in parts):
            continue
        if content not in (case.start.get(path), case.end.get(path)):
            yield f"{path} is neither old nor new"
    for folder in sorted({path.rpartition("/")[0] for path in case.end}):
        states = [below(found, folder, case.loose) for found in (case.start, now, case.end)]
        marked = any(f"{folder}/{marker}" in now for marker in MARKERS)
        if (marked or folder.endswith(("finished", "whole"))) and states[1] and states[1] not in (states[0], states[2]):
            yield f"{folder} is neither old nor new"
    if status == 0:
        yield from about_the_end(case, now)


def about_the_end(case: Case, now: Tree) -> Iterator[str]:
    """What differs from the results of a run without faults."""
    for path in sorted(now.keys() | case.end.keys()):
        if path not in case.loose and now.get(path) != case.end.get(path):
            yield f"{path}: {'missing' if path not in now else 'left over' if path not in case.end else 'other bytes'}"


def below(found: Tree, folder: str, loose: frozenset[str]) -> Tree:
    """The files of a folder."""
    return {path: content for path, content in found.items() if path.startswith(f"{folder}/") and path not in loose}


# -- the table ---------------------------------------------------------------------------------------------------------
def table(trials: Sequence[Trial]) -> str:
    """Counts by job and by fault: how many jobs ended in words, went on in spite of the fault, or went wrong."""
    by_job = counted((trial.case.split()[0], trial) for trial in trials)
    by_fault = counted((str(trial.fault), trial) for trial in trials)
    return "\n\n".join((rows("job", by_job), rows("fault", by_fault)))


def counted(trials: Iterable[tuple[str, Trial]]) -> dict[str, Counter[str]]:
    """Name -> how many trials came to what."""
    found: dict[str, Counter[str]] = {}
    for name, trial in trials:
        came = "wrong" if trial.wrong else "words" if trial.status else "on"
        found.setdefault(name, Counter())[came] += 1
    return found


def rows(what: str, found: Mapping[str, Counter[str]]) -> str:
    """A table in Markdown."""
    lines = [f"| {what} | faults | ended in words | went on | wrong |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, of in found.items():
        lines.append(f"| {name} | {of.total()} | {of['words']} | {of['on']} | {of['wrong']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
