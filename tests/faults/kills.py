"""Runs that are killed and interrupted at random moments, started again until they are done, and compared with an undisturbed
one:

python -m tests.faults.kills [--kills 100] [--seed 1] [--minutes 60] [--place DIR]

One run takes many disturbances. Each is a line of results/bench/faults/kills.jsonl, which later calls add to;
docs/results/faults.md has the table of all that is there. A seed and a number give the same disturbances at the same lines of
output; a moment within a line is the machine's own."""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
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
LINES = 90  # of output at most between a start, or a disturbance that the run outlives, and the next
HEAD = 25  # lines before the first job's
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
        self.left: list[str] = []  # processes that outlived the command
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
                start_new_session=True, preexec_fn=_attended,
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
        """Seconds until no process is left; None if some are after so many. These are named in `left`, and killed."""
        began = time.monotonic()
        while left := self.processes():
            if time.monotonic() - began > seconds:
                self.left = [" ".join(_words(process))[:80] for process in left]
                kill(left)
                return None
            time.sleep(POLL)
        return time.monotonic() - began


def _attended() -> None:
    """With the signals of a terminal, also where this process is in the background of a script."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _words(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline() or [""]
    return [""]


def kill(processes: Sequence[psutil.Process]) -> bool:
    """Whether there were any."""
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    return bool(processes)


# -- disturbances: each tells whether it found what it disturbs ----------------------------------------------------------
def everything(run: Run, rng: random.Random) -> bool:
    """As a machine that goes down: stopped at once, then killed."""
    for process in run.processes():
        with suppress(psutil.Error):
            process.suspend()
    while left := run.processes():
        kill(left)
    return True


def group(run: Run, rng: random.Random) -> bool:
    return _to_group(run, signal.SIGKILL)


def snakemake(run: Run, rng: random.Random) -> bool:
    return kill(run.snakemake())


def server(run: Run, rng: random.Random) -> bool:
    return kill(run.servers())


def job(run: Run, rng: random.Random) -> bool:
    found = sorted(run.jobs(), key=lambda p: p.pid)
    return kill(rng.sample(found, min(1, len(found))))


def stage(run: Run, rng: random.Random) -> bool:
    found = sorted(run.stages(), key=lambda p: p.pid)
    return kill(rng.sample(found, min(1, len(found))))


def terminated(run: Run, rng: random.Random) -> bool:
    assert run.process
    run.process.terminate()
    return True


def interrupted(run: Run, rng: random.Random) -> bool:
    return _to_group(run, signal.SIGINT)


def interrupted_twice(run: Run, rng: random.Random) -> bool:
    _to_group(run, signal.SIGINT)
    time.sleep(rng.uniform(0.05, 1.0))
    if not run.ended:
        _to_group(run, signal.SIGINT)
    return True


def hung_up(run: Run, rng: random.Random) -> bool:
    return _to_group(run, signal.SIGHUP)


def _to_group(run: Run, number: int) -> bool:
    assert run.process
    with suppress(ProcessLookupError):
        os.killpg(run.process.pid, number)
    return True


@dataclass(frozen=True)
class Family:
    """A kind of disturbance."""

    what: str
    do: Callable[[Run, random.Random], bool]
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


BAG = tuple(name for name, family in FAMILIES.items() for _ in range(family.weight))


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


def planned(seed: int, number: int, bag: Sequence[str]) -> Iterator[tuple[str, int, float, random.Random]]:
    """Family, lines and seconds of one disturbance after the other, for the run of this number, and what else it draws from:
    all of the bag in a random order, then again."""
    rng = random.Random(f"{seed} {number}")
    while True:
        for name in rng.sample(bag, len(bag)):
            lines = rng.choice([0, rng.randrange(HEAD), rng.randrange(HEAD, LINES), rng.randrange(HEAD, LINES)])
            yield name, lines, rng.uniform(0, STARTING if lines == 0 else 0.5), random.Random(rng.random())


def disturb(run: Run, name: str, trial: Trial, rng: random.Random) -> bool:
    """Disturb the run, and note what is not as it should be. False where there is nothing to disturb, such as no job."""
    family = FAMILIES[name]
    trial.running = sorted(
        {w.removeprefix("consomme.") for p in run.stages() for w in _words(p) if w.startswith("consomme.")}
    )
    began = time.monotonic()
    if not family.do(run, rng):
        return False
    if not family.ends:
        return True
    assert run.process
    try:
        run.process.wait(PATIENCE if family.asked else 60)
    except subprocess.TimeoutExpired:
        trial.problems.append("the command did not end")
    trial.ended = time.monotonic() - began
    trial.gone = run.gone(60)
    trial.locked = run.locked
    if trial.gone is None:
        trial.problems.append(f"processes were left after a minute: {'; '.join(run.left)}")
    if family.asked and trial.locked:
        trial.problems.append("a lock was left")
    if lost := run.note_finished():
        trial.problems.append(f"finished work is gone or made anew: {', '.join(map(str, lost))}")
    return True


def to_the_end(
    run: Run,
    seed: int,
    number: int,
    most: int,
    bag: Sequence[str] = BAG,
    until: float = math.inf,
) -> Iterator[Trial]:
    """Start the run, disturb it `most` times at most, and not after `until`, and start it again until it is done.
    AssertionError if it can't be finished any more."""
    plan, trials, failures = planned(seed, number, bag), 0, 0
    run.start()
    while True:
        if trials < most and time.monotonic() < until:
            name, lines, seconds, rng = next(plan)
            if run.reached(lines, seconds):
                trial = Trial(seed, number, name, lines)
                if not disturb(run, name, trial, rng):
                    continue
                if FAMILIES[name].ends and not run.unlocked():
                    trial.problems.append(f"the next start did not go as it said: {run.output[-2000:]}")
                trials, failures = trials + 1, 0
                yield trial
                continue
        if run.status == 0:
            return
        # a job or the process that forks them was killed, and what needs it wasn't made: it is made now
        failures += 1
        assert failures < 3, f"seed {seed}, run {number}: it can't be finished any more: {run.output[-3000:]}"
        assert run.unlocked(), f"seed {seed}, run {number}: a lock is in the way: {run.output[-2000:]}"


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
    found = [p for p in run.temporary.glob("consomme-*/*") if p.is_socket()]
    sockets = sorted(found, key=lambda p: p.stat().st_mtime)[:-1]
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


# -- many trials, and their table --------------------------------------------------------------------------------------
def record(path: Path, **line: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def main() -> None:
    """Disturb run after run, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="disturbances of this call")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0, help="no run is disturbed any more after so many")
    parser.add_argument("--place", type=Path, default=Path("/tmp/consomme-kills"), help="a folder for the runs")
    given = parser.parse_args()
    until = time.monotonic() + 60 * given.minutes
    known = [json.loads(line) for line in RECORDS.read_text().splitlines()] if RECORDS.exists() else []
    number = max((line["run"] for line in known if line["seed"] == given.seed), default=0)
    about = {"commit": _commit(), "machine": _machine()}
    shutil.rmtree(given.place, ignore_errors=True)
    code = copied(given.place / "code")
    reference = undisturbed(given.place / "undisturbed", code)
    done = 0
    while done < given.kills and time.monotonic() < until:
        number += 1
        run, trials = Run(given.place / str(number), code), 0
        try:
            for trial in to_the_end(run, given.seed, number, given.kills - done, until=until):
                trials += 1
                record(RECORDS, **asdict(trial), **about)
                print(trial, flush=True)
            found = problems(run, reference)
        except AssertionError as error:
            found = [str(error)]
            kill(run.processes())
        record(RECORDS, seed=given.seed, run=number, trials=trials, problems=found, **about)
        print(f"run {number}: {trials} disturbances, {found or 'as undisturbed'}", flush=True)
        done += trials
        if not found:
            shutil.rmtree(run.folder)
        write_page()


def write_page() -> None:
    """The table "Kills" of the page, in place of the one that is there."""
    lines = [json.loads(line) for line in RECORDS.read_text(encoding="utf-8").splitlines()]
    ends = {(line["seed"], line["run"]): line["problems"] for line in lines if "trials" in line}
    # a run that was left half-way says nothing of its end
    trials = [line for line in lines if "family" in line and (line["seed"], line["run"]) in ends]
    told = sorted({(line["commit"], line["machine"]) for line in lines})
    seeds = ", ".join(str(seed) for seed in sorted({line["seed"] for line in trials}))
    stages = Counter(name for trial in trials for name in trial["running"])
    table = [
        "| disturbance | trials | well | ended, s: median, most | last process gone, s: median, most | lock left | what else |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, family in FAMILIES.items():
        of_it = [trial for trial in trials if trial["family"] == name]
        wrong = [
            (t, t["problems"] + ends[t["seed"], t["run"]]) for t in of_it if t["problems"] or ends[t["seed"], t["run"]]
        ]
        else_ = "; ".join(f"seed {t['seed']}, run {t['run']}: {p[0].splitlines()[0]}" for t, p in wrong)
        cells = [
            family.what, len(of_it), len(of_it) - len(wrong), _spread(t["ended"] for t in of_it),
            _spread(t["gone"] for t in of_it), sum(t["locked"] for t in of_it) if family.ends else "", else_,
        ]  # fmt: skip
        table.append(f"| {' | '.join(map(str, cells))} |")
    section = [
        BEGIN,
        "",
        f"- command: `python -m tests.faults.kills`, seed {seeds}",
        *(f"- commit: {commit}; machine: {machine}" for commit, machine in told),
        "",
        f"{len(trials)} disturbances. Runs of a small recogniser's and a small translator's workflow (`tests/faults/*.yaml`), "
        f"{len(ends)} in all, were started again until they were done; {sum(not found for found in ends.values())} ended as they should:",
        "",
        *table,
        "",
        "Jobs that ran at these moments: " + ", ".join(f"{name} {count}" for name, count in stages.most_common()) + ".",
        "",
        *WELL.splitlines(),
        "",
    ]
    text = (
        PAGE.read_text(encoding="utf-8")
        if PAGE.exists()
        else "# Measured: what failing machines and hurried users do\n\n"
    )
    before, _, rest = text.partition(f"{BEGIN}\n")
    _, *after = re.split(r"^(?=###? )", rest, maxsplit=1, flags=re.MULTILINE)  # what is written by hand below it stays
    page = "\n".join([before.rstrip("\n"), "", *section, *after])
    PAGE.write_text(page.rstrip("\n") + "\n", encoding="utf-8")


BEGIN = "## Kills"
WELL = """\
**Well** is a disturbance after which

- the command and all its processes ended, the command by itself where it was asked to;
- no lock was left where it was asked to end; else the next start said the command that takes it away, and that did;
- the next start went on: no folder of finished work was gone or made anew, no job that had ended well was started again;
- the run ended with every byte as in an undisturbed one: weights, configurations, tokenizers and provenance of all models, prepared and relabelled corpora, hypotheses, scores.tsv, comparisons.tsv, runs.tsv, groups.tsv, the links in current/;
- no half-made file or folder, and no socket of a killed server, was left then.

Rightly different, and not compared: times and speeds (costs.tsv, progress.jsonl, search.tsv, logs, benchmarks, TensorBoard's files), the register, which has times (claims.jsonl, and its hash in the index of hypotheses), and what shows these (summary.md, report.html, tables/, content.json)."""


def _spread(seconds: Iterable[float | None]) -> str:
    known = [one for one in seconds if one is not None]
    return f"{statistics.median(known):.1f}, {max(known):.1f}" if known else ""


def _commit() -> str:
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def _machine() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    name = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown processor"
    )
    return f"{name}, {os.cpu_count()} cores, no GPU, other work beside it"


if __name__ == "__main__":
    main()
