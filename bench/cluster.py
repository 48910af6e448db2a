"""A sweep on a cluster, on paper: python bench/cluster.py [--check RESULTS --slots 2 --start 13]

Jobs and what they wait for are those of a study of Whisper: prepare, train every run, evaluate each, choose the best, average,
evaluate, report. Each job takes a slot (a GPU, or the GPUs of a training); free slots take the first job that is ready. How
long jobs take is reckoned from the settings below, whose names say what was measured and what is assumed. The printed tables
are those of docs/scale.md.

--check RESULTS reads a finished folder of results instead: with the seconds that its jobs took and its own graph, how long
would so many slots have needed, and how long did it take?"""

from __future__ import annotations

import argparse
import csv
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HOUR = 3600.0
FLOAT32, MOMENTS = 4, 8  # bytes of a weight, and of AdamW's two moments of it
PREPARE = 6.5  # seconds of a core for an hour of Opus, measured: docs/scale.md
# an hour of FLAC that is kept in place, measured by bench/data.py: seconds of a core for samples and features, and bytes
COMPUTED, FLAC = 2.1, 64e6
PCM, FRAMES = 16_000 * 2, 100 * FLOAT32  # bytes of a second: of audio as it is stored, of a mel bin of its features


@dataclass(frozen=True)
class Whisper:
    """A published size. parameters: encoder and decoder, in millions; bins: of the mel spectrogram."""

    encoder: float
    decoder: float
    bins: int = 80

    @property
    def weights(self) -> float:
        """Bytes in float32, as training stores them."""
        return (self.encoder + self.decoder) * 1e6 * FLOAT32


SIZES = {"small": Whisper(88, 154), "medium": Whisper(307, 457), "large-v3": Whisper(637, 906, 128)}


@dataclass(frozen=True)
class Machine:
    """A cluster. Assumed, none of it measured here: we have no GPU."""

    gpus: int
    flops: float = 300e12  # a second, of a GPU in bfloat16 while it trains: 30 % of an H100's peak
    realtime: float = 200.0  # seconds of audio that a GPU decodes in a second, with a small model
    read: float = 2e9  # bytes a second, from the shared disk to all nodes together
    average: float = 0.5e9  # bytes of ingredients a second; half of what two cores here do from memory
    cores: int = 32  # of the nodes that prepare
    start: float = 60.0  # seconds until a job has begun: queue, Python, CUDA, reading the model


@dataclass(frozen=True)
class Sweep:
    """What is trained. hours: of training audio; windows: 30 s each, in a step of all GPUs of a training."""

    size: str
    runs: int
    hours: float
    steps: int
    windows: int
    test_hours: float
    gpus: int = 1  # of a training

    @property
    def model(self) -> Whisper:
        return SIZES[self.size]

    def step(self, machine: Machine) -> float:
        """Seconds of a step: six operations a weight and place, forwards and backwards, 1,500 places of the encoder and 100
        of the decoder a window."""
        work = 6 * self.windows * (1500 * self.model.encoder + 100 * self.model.decoder) * 1e6
        return work / (machine.flops * self.gpus)

    def epochs(self) -> float:
        return self.steps * self.windows * 30 / (self.hours * HOUR)


@dataclass
class Job:
    """Seconds on `slots` slots, once all jobs in `after` have ended."""

    seconds: float
    slots: int = 1
    after: list[str] = field(default_factory=list)


def makespan(jobs: Mapping[str, Job], slots: int) -> float:
    """Seconds until the last job has ended. A job that finds too few free slots holds up none that is ready and smaller."""
    waiting = {name: sum(one in jobs for one in job.after) for name, job in jobs.items()}
    followers: dict[str, list[str]] = {}
    for name, job in jobs.items():
        for one in job.after:
            followers.setdefault(one, []).append(name)
    ready = [name for name, count in waiting.items() if not count]
    running: list[tuple[float, str]] = []
    now, free = 0.0, slots
    while ready or running:
        for name in list(ready):
            if jobs[name].slots <= free:
                free -= jobs[name].slots
                ready.remove(name)
                heapq.heappush(running, (now + jobs[name].seconds, name))
        if not running:
            raise ValueError(f"{ready[0]} needs {jobs[ready[0]].slots} slots, and there are {slots}")
        now, name = heapq.heappop(running)
        free += jobs[name].slots
        for follower in followers.get(name, []):
            waiting[follower] -= 1
            if not waiting[follower]:
                ready.append(follower)
    return now


def study(sweep: Sweep, machine: Machine) -> dict[str, Job]:
    """The jobs of a sweep."""
    decode = machine.start + sweep.test_hours * HOUR / machine.realtime * sweep.model.decoder / SIZES["small"].decoder
    train = machine.start + sweep.steps * sweep.step(machine)
    average = machine.start + sweep.runs * sweep.model.weights / machine.average
    jobs = {"prepare": Job(sweep.hours * PREPARE / machine.cores)}
    runs = [f"run {n}" for n in range(sweep.runs)]
    for run in runs:
        jobs[run] = Job(train, sweep.gpus, ["prepare"])
        jobs[f"evaluate {run}"] = Job(decode, 1, [run])
    # a choice decodes each run's development sets, half of what is tested; it reads the cached ones of the evaluations
    jobs["best"] = Job(machine.start + decode, 1, runs)
    jobs["mean"] = Job(average, 1, runs)
    jobs["soup"] = Job(average + sweep.runs * decode / 2, 1, runs)
    for name in ("best", "mean", "soup"):
        jobs[f"evaluate {name}"] = Job(decode, 1, [name])
    jobs["report"] = Job(machine.start, 1, [name for name in jobs if name.startswith("evaluate")])
    return jobs


def told(name: str, sweep: Sweep, machine: Machine) -> list[str]:
    """A column of the table."""
    jobs = study(sweep, machine)
    slots = machine.gpus
    whole = makespan(jobs, slots)
    work = sum(job.seconds * job.slots for job in jobs.values())
    trained = sum(job.seconds * job.slots for name, job in jobs.items() if name.startswith("run"))
    at_once = min(sweep.runs, machine.gpus // sweep.gpus)
    state = 3 * sweep.model.weights + 2 * sweep.model.weights / FLOAT32 * MOMENTS
    audio, features = sweep.hours * HOUR * PCM, sweep.hours * HOUR * FRAMES * sweep.model.bins
    rate = at_once * sweep.windows * 30 * FRAMES * sweep.model.bins / sweep.step(machine)
    soup = jobs["soup"].seconds
    heard = sweep.windows * 30 / sweep.step(machine)  # seconds of audio a second, of one training
    return [
        name,
        f"{sweep.epochs():.1f}",
        f"{sweep.step(machine):.2f} s",
        f"{trained / HOUR:,.0f}",
        f"{work / HOUR:,.0f}",
        f"{whole / HOUR:,.0f} h",
        f"{100 * work / whole / slots:.0f} %",
        f"{jobs['prepare'].seconds / HOUR:.1f} h",
        f"{soup / HOUR:.1f} h",
        _bytes(audio),
        _bytes(features),
        _bytes(at_once * state),
        _bytes((sweep.runs + 3) * sweep.model.weights),
        f"{rate / 1e6:,.0f} MB/s",
        _bytes(sweep.hours * FLAC),
        f"{at_once * heard / HOUR * FLAC / 1e6:,.0f} MB/s",
        f"{heard / HOUR * COMPUTED / sweep.gpus:.1f}",
    ]


ROWS = [
    "", "passes over the audio", "a step", "GPU hours of training", "GPU hours", "from start to report", "GPUs in use",
    "preparing", "the greedy soup", "audio, prepared", "features", "checkpoints, at most at once", "finished models",
    "features read by all trainings", "in place: audio, FLAC", "in place: FLAC read by all trainings", "in place: cores a GPU",
]  # fmt: skip
CASES = {
    "16 x small, 1 GPU": (Sweep("small", 16, 100, 4000, 16, 5), Machine(1)),
    "16 x small, 16 GPUs": (Sweep("small", 16, 100, 4000, 16, 5), Machine(16)),
    "64 x medium, 16 GPUs": (Sweep("medium", 64, 2000, 10_000, 64, 20), Machine(16)),
    "200 x large-v3, 64 GPUs": (Sweep("large-v3", 200, 50_000, 20_000, 1024, 50, gpus=8), Machine(64)),
}


def _bytes(size: float) -> str:
    return f"{size / 1e12:.1f} TB" if size >= 1e12 else f"{size / 1e9:.0f} GB"


def finished(results: Path, start: float = 0.0) -> tuple[dict[str, Job], float]:
    """The jobs of a finished folder of results, with the seconds that they took, and the seconds from the first one's start
    to the last one's end, by the times of their files."""
    from consomme.plan.load import read
    from consomme.plan.plan import Plan

    (config,) = results.parent.glob("[!.]*.yaml")
    plan = Plan(read([config]))
    inputs: dict[str, tuple[str, Sequence[str]]] = {}  # output -> benchmark, inputs
    for corpus in plan.corpora.values():
        inputs[corpus.marker] = f"prepared/benchmarks/{corpus.id}.tsv", [*corpus.inputs.values()]
    for model in plan.models.values():
        inputs[model.content] = f"{model.experiment}/benchmarks/{model.stage}/{model.id}.tsv", [*model.inputs.values()]
    for one in plan.evaluations.values():
        name = f"{one.model.experiment}/benchmarks/evaluate/{one.model.id}.{one.digest}.tsv"
        inputs[one.path] = name, [*one.inputs.values()]
    for scape in plan.landscapes.values():
        name = f"{scape.experiment}/benchmarks/landscape/{scape.digest}.tsv"
        inputs[scape.path] = name, [*scape.inputs.values()]
    jobs, ends, starts = {}, [], []
    for output, (benchmark, after) in inputs.items():
        path = results / benchmark
        with path.open(encoding="utf-8") as stream:
            seconds = float(next(csv.DictReader(stream, delimiter="\t"))["s"])
        jobs[output] = Job(seconds + start, 1, [*after])
        ends.append(path.stat().st_mtime)
        starts.append(ends[-1] - seconds)
    return jobs, max(ends) - min(starts)


def main() -> None:
    """Print the table, or the check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", type=Path, metavar="RESULTS")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument(
        "--start", type=float, default=0.0, help="with --check: seconds until a job has begun and its end is seen"
    )
    given = parser.parse_args()
    if given.check:
        jobs, took = finished(given.check, given.start)
        found, work = makespan(jobs, given.slots), sum(job.seconds for job in jobs.values())
        print(
            f"{len(jobs)} jobs, {work:.0f} s of work: {found:.0f} s by {given.slots} slots on paper, {took:.0f} s it took"
        )
        return
    columns = [ROWS, *(told(name, *case) for name, case in CASES.items())]
    for number, row in enumerate(zip(*columns, strict=True)):
        print(f"| {' | '.join(row)} |")
        if not number:
            print(f"| --- |{' ---: |' * len(CASES)}")


if __name__ == "__main__":
    main()
