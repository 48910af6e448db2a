"""Runs that are killed and interrupted at random moments, started again until they are done, and compared with an undisturbed
one:

python -m tests.faults.kills [--kills 100] [--seed 1] [--minutes 60] [--place DIR]

One run takes many disturbances. Each is a line of results/bench/faults/kills.jsonl, which later calls add to;
docs/results/faults.md has the table of all that is there. A seed and a number give the same disturbances at the same lines of
output; a moment within a line is the machine's own."""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from consomme.common.files import hash_file

from ..clones import REPOSITORY, clone, environment

RECORDS, PAGE = REPOSITORY / "results/bench/faults/kills.jsonl", REPOSITORY / "docs/results/faults.md"
CONFIGURATIONS = ("asr.yaml", "nmt.yaml")
TAG = "CONSOMME_TEST_OF_FAULTS"  # variable that all processes of a place have
POLL = 0.02  # seconds between two looks
LINES = 80  # of output at most between a start, or a disturbance that the run outlives, and the next
STARTING = 6.0  # seconds of a start without output
SOON = 5.0  # seconds in which a run that is asked to end has to
PATIENCE = 900.0  # seconds, on a busy machine
ADVICE = re.compile(r"take the lock away and start again: consomme (.*)")
# what has times and speeds of this very run, or stands for such
OF_ITS_OWN = ("costs.tsv", "progress.jsonl", "claims.jsonl", "summary.md", "report.html", "content.json", "search.tsv")
APART = {"logs", "benchmarks", "cache", "state", "plan", "tables", "tensorboard"}


# -- one place with a run ----------------------------------------------------------------------------------------------
class Run:
    """`consomme run` in a folder, started again and again."""

    def __init__(self, folder: Path, code: Path, configurations: Sequence[str] = CONFIGURATIONS) -> None:
        self.folder, self.configurations, self.said = folder, configurations, folder / "said"
        folder.mkdir(parents=True)
        self.temporary.mkdir()
        for name in configurations:
            shutil.copy(Path(__file__).with_name(name), folder)
        self.environment = environment(code) | {TAG: str(folder), "TMPDIR": str(self.temporary)}
        self.process: subprocess.Popen[bytes] | None = None
        self.outputs: list[str] = []  # of each start before this one
        self.finished: dict[Path, int] = {}  # folders of finished work -> inode, of all that ever were there

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    def start(self, *more: str) -> None:
        """In a session of its own, as from a terminal of its own."""
        command = ["run", *self.configurations, "--cores", "2", "--", "--quiet", "host", *more]
        self._begin([sys.executable, "-m", "consomme", *command])

    def _begin(self, command: Sequence[str]) -> None:
        if self.said.exists():
            self.outputs.append(self.output)
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=said, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    @property
    def output(self) -> str:
        return self.said.read_text(encoding="utf-8", errors="replace")

    @property
    def ended(self) -> bool:
        assert self.process
        return self.process.poll() is not None

    @property
    def status(self) -> int:
        """Once it has ended, or does."""
        assert self.process
        return self.process.wait(PATIENCE)

    def reached(self, lines: int, seconds: float) -> bool:
        """Wait for so many lines of output from now on, and a moment more. False if it ends before."""
        aim, until = self.output.count("\n") + lines, time.monotonic() + PATIENCE
        while not self.ended and self.output.count("\n") < aim:
            assert time.monotonic() < until, f"no line for {PATIENCE} s:\n{self.output[-3000:]}"
            time.sleep(POLL)
        until = time.monotonic() + seconds
        while not self.ended and time.monotonic() < until:
            time.sleep(POLL)
        return not self.ended

    def unlocked(self) -> bool:
        """Start again, take the lock away as the start says if there is one. Whether all was said and done."""
        if not self.locked:
            self.start()
            return True
        self.start()
        refused, advice = self.status != 0, ADVICE.findall(self.output)
        if not refused or not advice:
            return False
        self._begin([sys.executable, "-m", "consomme", *shlex.split(advice[-1])])
        well = self.status == 0 and not self.locked
        self.start()
        return well

    @property
    def locked(self) -> bool:
        return any((self.folder / ".snakemake/locks").glob("*"))

    def note_finished(self) -> list[Path]:
        """The finished work that was there before and is gone, or was made anew."""
        now = {path: path.stat().st_ino for path in self.folder.glob("results/**/state/*/*/finished")}
        lost = [path for path, inode in self.finished.items() if now.get(path) != inode]
        self.finished |= now
        return lost

    def repeated(self) -> list[str]:
        """The jobs that ended well in one start and were started in a later one."""
        done: set[str] = set()
        again = []
        for output in [*self.outputs, self.output]:
            jobs = dict(re.findall(r"^Job (\d+): (.*)$", output, re.MULTILINE))
            again += sorted(done & set(jobs.values()))
            done |= {
                jobs[number]
                for number in re.findall(r"^Finished jobid: (\d+) ", output, re.MULTILINE)
                if number in jobs
            }
        return again

    # -- its processes
    def processes(self) -> list[psutil.Process]:
        """All that run for this place, wherever in the tree of processes."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(TAG) == str(self.folder) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def servers(self) -> list[psutil.Process]:
        """The process that forks jobs."""
        return [p for p in self._preloaded() if p.ppid() not in {q.pid for q in self._preloaded()}]

    def jobs(self) -> list[psutil.Process]:
        """The processes that run jobs, forked or not."""
        servers, forked = {p.pid for p in self.servers()}, self._preloaded()
        handing = [p for p in self.stages() if not any(q.ppid() in servers for q in forked)]
        return [p for p in forked if p.ppid() in servers] or handing

    def stages(self) -> list[psutil.Process]:
        """The processes that jobs' shells start."""
        return [p for p in self.processes() if "--spec" in _words(p) and _words(p)[0].endswith("python")]

    def _preloaded(self) -> list[psutil.Process]:
        return [p for p in self.processes() if "consomme.preload" in _words(p)]

    def snakemake(self) -> list[psutil.Process]:
        assert self.process
        with suppress(psutil.Error):
            return [p for p in psutil.Process(self.process.pid).children() if "snakemake" in _words(p)]
        return []

    def gone(self, seconds: float) -> float | None:
        """Seconds until no process is left; None if some are after so many, and these are killed."""
        began = time.monotonic()
        while left := self.processes():
            if time.monotonic() - began > seconds:
                kill(left)
                return None
            time.sleep(POLL)
        return time.monotonic() - began


def _words(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline() or [""]
    return [""]


def kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


# -- disturbances ------------------------------------------------------------------------------------------------------
def everything(run: Run, rng: random.Random) -> None:
    """As a machine that goes down: stopped at once, then killed."""
    for process in run.processes():
        with suppress(psutil.Error):
            process.suspend()
    while left := run.processes():
        kill(left)


def group(run: Run, rng: random.Random) -> None:
    _to_group(run, signal.SIGKILL)


def snakemake(run: Run, rng: random.Random) -> None:
    kill(run.snakemake())


def server(run: Run, rng: random.Random) -> None:
    kill(run.servers())


def job(run: Run, rng: random.Random) -> None:
    if found := sorted(run.jobs(), key=lambda p: p.pid):
        kill([rng.choice(found)])


def stage(run: Run, rng: random.Random) -> None:
    if found := sorted(run.stages(), key=lambda p: p.pid):
        kill([rng.choice(found)])


def terminated(run: Run, rng: random.Random) -> None:
    assert run.process
    run.process.terminate()


def interrupted(run: Run, rng: random.Random) -> None:
    _to_group(run, signal.SIGINT)


def interrupted_twice(run: Run, rng: random.Random) -> None:
    _to_group(run, signal.SIGINT)
    time.sleep(rng.uniform(0.05, 1.0))
    if not run.ended:
        _to_group(run, signal.SIGINT)


def hung_up(run: Run, rng: random.Random) -> None:
    _to_group(run, signal.SIGHUP)


def _to_group(run: Run, number: int) -> None:
    assert run.process
    with suppress(ProcessLookupError):
        os.killpg(run.process.pid, number)


@dataclass(frozen=True)
class Family:
    """A kind of disturbance."""

    what: str
    do: Callable[[Run, random.Random], None]
    weight: int
    ends: bool = True  # the run ends with it
    asked: bool = False  # asked to end: soon, and without a lock left


FAMILIES = {
    "everything": Family("SIGKILL of all processes of a run at once", everything, 6),
    "group": Family("SIGKILL of the process group: `consomme`, Snakemake, jobs' shells", group, 3),
    "snakemake": Family("SIGKILL of Snakemake alone", snakemake, 2),
    "server": Family("SIGKILL of the process that forks jobs", server, 2, ends=False),
    "job": Family("SIGKILL of the process of one job", job, 3, ends=False),
    "stage": Family("SIGKILL of the process that a job's shell started", stage, 1, ends=False),
    "SIGTERM": Family("SIGTERM to `consomme`", terminated, 2, asked=True),
    "SIGINT": Family("SIGINT to the process group, as by Ctrl-C", interrupted, 2, asked=True),
    "SIGINT twice": Family("the same twice within a second", interrupted_twice, 2, asked=True),
    "SIGHUP": Family("SIGHUP to the process group, as of a terminal that closes", hung_up, 2, asked=True),
}


# -- trials ------------------------------------------------------------------------------------------------------------
@dataclass
class Trial:
    """One disturbance."""

    seed: int
    run: int
    family: str
    lines: int
    running: list[str] = field(default_factory=list)  # the stages at that moment
    ended: float | None = None  # seconds until the command had ended
    gone: float | None = None  # seconds from then until the last of its processes had
    locked: bool = False
    problems: list[str] = field(default_factory=list)


def planned(
    seed: int, number: int, names: Sequence[str] = tuple(FAMILIES)
) -> Iterator[tuple[str, int, float, random.Random]]:
    """Family, lines and seconds of one disturbance after the other, for the run of this number."""
    rng = random.Random(f"{seed} {number}")
    while True:
        bag = [name for name in names for _ in range(FAMILIES[name].weight)]
        rng.shuffle(bag)
        for name in bag:
            lines = rng.randrange(LINES)
            yield name, lines, rng.uniform(0, STARTING if lines == 0 else 0.5), rng


def disturb(run: Run, name: str, trial: Trial, rng: random.Random) -> None:
    """Disturb the run, and note what is not as it should be."""
    family = FAMILIES[name]
    trial.running = sorted(
        {w.removeprefix("consomme.") for p in run.stages() for w in _words(p) if w.startswith("consomme.")}
    )
    began = time.monotonic()
    family.do(run, rng)
    if not family.ends:
        return
    assert run.process
    try:
        run.process.wait(PATIENCE if family.asked else 60)
    except subprocess.TimeoutExpired:
        trial.problems.append("the command did not end")
    trial.ended = time.monotonic() - began
    trial.gone = run.gone(60)
    trial.locked = run.locked
    if trial.gone is None:
        trial.problems.append("processes were left after a minute")
    if family.asked and trial.locked:
        trial.problems.append("a lock was left")
    if lost := run.note_finished():
        trial.problems.append(f"finished work is gone or made anew: {', '.join(map(str, lost))}")


def to_the_end(run: Run, seed: int, number: int, most: int, note: Callable[[Trial], None] = lambda trial: None,
               names: Sequence[str] = tuple(FAMILIES)) -> list[Trial]:  # fmt: skip
    """Start the run, disturb it `most` times, and start it again until it is done."""
    trials: list[Trial] = []
    plan = planned(seed, number, names)
    run.start()
    failures = 0
    while True:
        if len(trials) < most:
            name, lines, seconds, rng = next(plan)
            if run.reached(lines, seconds):
                trial = Trial(seed, number, name, lines)
                trials.append(trial)
                disturb(run, name, trial, rng)
                failures = 0
                if FAMILIES[name].ends and not run.unlocked():
                    trial.problems.append(f"the next start did not go as it said:\n{run.output[-2000:]}")
                note(trial)
                continue
        if run.status == 0:
            return trials
        # a job or the server was killed, and what needs it wasn't made; a start that nothing disturbs has to succeed
        failures += 1
        assert failures < 3, f"seed {seed}, run {number}: it can't be finished any more:\n{run.output[-3000:]}"
        if not run.unlocked() and trials:
            trials[-1].problems.append(f"the next start did not go as it said:\n{run.output[-2000:]}")


def problems(run: Run, undisturbed: Run) -> list[str]:
    """What a finished run has that it should not."""
    found = [f"not as in an undisturbed run: {name}" for name in different(run.folder, undisturbed.folder)]
    found += [f"finished, and started again: {name}" for name in run.repeated()]
    found += [f"finished work is gone or made anew: {path}" for path in run.note_finished()]
    found += [f"left: {path}" for path in left(run)]
    if run.gone(60) is None:
        found.append("processes were left after a minute")
    return found


def different(folder: Path, other: Path) -> list[str]:
    """The results that differ in a byte, or are in one of the two folders alone."""
    ours, theirs = contents(folder), contents(other)
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def contents(folder: Path) -> dict[str, str]:
    """Path -> hash of each result, or where a link points to; without what has times or speeds of this very run."""
    found = {}
    for path in sorted((folder / "results").rglob("*")):
        name = path.relative_to(folder / "results")
        if path.is_symlink():
            found[str(name)] = os.readlink(path)
        elif path.is_file() and not _of_its_own(name):
            found[str(name)] = hash_file(path)
    return found


def _of_its_own(name: Path) -> bool:
    # the index of hypotheses holds the hash of the register, which has times
    index = "hypotheses" in name.parts and name.suffix == ".json"
    return index or bool(APART & set(name.parts)) or name.name in OF_ITS_OWN or name.suffix == ".lock"


def left(run: Run) -> list[str]:
    """Half-made files and folders, and sockets of killed servers but the last one."""
    hidden = [p for p in (run.folder / "results").rglob(".*") if p.suffix != ".lock"]
    sockets = sorted(run.temporary.glob("consomme-*"), key=lambda p: p.stat().st_mtime)[:-1]
    return [str(p.relative_to(run.folder)) for p in [*hidden, *sockets]]


def copied(folder: Path) -> Path:
    """The workflow in `folder`, in which the measurement of speeds, whose figures differ anyway, takes one round."""
    folder.mkdir(parents=True)
    clone(folder)
    rounds = folder / "scripts/consomme/speed/rounds.py"
    text = rounds.read_text(encoding="utf-8")
    shorter = text.replace("LIMIT = 30.0", "LIMIT = 0.0")
    assert shorter != text
    rounds.write_text(shorter, encoding="utf-8")
    return folder


def undisturbed(folder: Path, code: Path, configurations: Sequence[str] = CONFIGURATIONS) -> Run:
    run = Run(folder, code, configurations)
    run.start()
    assert run.status == 0, run.output[-3000:]
    return run
