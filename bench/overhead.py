"""Where the time of a run goes, by job: python bench/overhead.py [CONFIG ...] [--cores 2] [--read]

Runs the demo, or CONFIG, from nothing in results/bench/overhead, and reads what is left there: when Snakemake started and
finished each job (snakemake_logger_plugin_moments.py), the seconds of its command (benchmarks/), and its log. --read reads
the last run again."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

PLACE = Path("results/bench/overhead")
MOMENTS = "moments.jsonl"
# rules whose work is told by their log: steps of training, and evaluations; of others all that the stage does is work
TOLD = {
    "train_model", "average_models", "ensemble_models", "prune_model", "evaluate_model", "choose_export",
    "measure_landscape", "relabel_corpus",
}  # fmt: skip
GOALS = {True: 4.0, False: 0.5}  # seconds that a job may cost beyond its work: rules in TOLD, and others
LINE = re.compile(r"^\[ *([\d.]+)s\] (.*)$", re.MULTILINE)
TIMED = re.compile(r"\((?:\d+ utterances, )?([\d.]+) s\)$|scored in ([\d.]+) s:")
TRAINING = re.compile(r"with [\d,]+ parameters, .*steps")
STEP = re.compile(r"step \d+/\d+ ")


@dataclass(frozen=True)
class Spent:
    """The seconds of one job. They follow one another, except that work and beside are the stage's."""

    rule: str
    threads: int
    began: float  # since the run's start
    waiting: float  # for a free core, once all inputs were there
    snakemake: float  # to start the job, and to check and note what it made
    start: float  # of the shell and Python, with imports, until the stage begins; and its exit
    beside: float  # of the stage, beside its work: reading, checking, hashing, writing
    work: float

    @property
    def beyond(self) -> float:
        return self.snakemake + self.start + self.beside


def run(configs: Sequence[Path], cores: str) -> None:
    """A run from nothing."""
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    command = [sys.executable, "-m", "consomme", "run", *(str(c.resolve()) for c in configs), "--cores", cores]
    command += ["--", "--logger", "moments", "--logger-moments-file", MOMENTS]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent.resolve()), os.environ.get("PYTHONPATH")]))
    began = time.time()
    subprocess.run(command, cwd=PLACE, env={**os.environ, "PYTHONPATH": path}, check=True)
    found = {"began": began, "ended": time.time(), "cores": os.cpu_count() if cores == "all" else int(cores)}
    (PLACE / "run.json").write_text(json.dumps(found), encoding="utf-8")


def jobs(place: Path, began: float) -> list[Spent]:
    """What each job of a run spent, in the order of their starts."""
    known, started, finished, made = {}, {}, {}, {}
    for line in (place / MOMENTS).read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["event"] == "job":
            known[entry["job"]] = entry
            made |= dict.fromkeys(entry["output"], entry["job"])
        elif entry["event"] == "started":
            started |= dict.fromkeys(entry["jobs"], entry["time"])
        else:
            finished[entry["job"]] = entry["time"]
    found = []
    for number, job in known.items():
        if not job["log"]:  # `all`
            continue
        ready = max((finished[made[path]] for path in job["input"] if path in made), default=min(started.values()))
        (seconds,) = re.findall(r"^[\d.]+", (place / job["benchmark"]).read_text(), re.MULTILINE)[-1:]
        stage, work = told((place / job["log"][0]).read_text(encoding="utf-8"), job["rule"])
        found.append(
            Spent(
                rule=job["rule"],
                threads=int(job["threads"]),
                began=started[number] - began,
                waiting=max(started[number] - ready, 0.0),
                snakemake=finished[number] - started[number] - float(seconds),
                start=float(seconds) - stage,
                beside=stage - work,
                work=work,
            )
        )
    return sorted(found, key=lambda job: job.began)


def told(log: str, rule: str) -> tuple[float, float]:
    """The seconds of a stage until its last line, and those of its work."""
    lines = [(float(at), text) for at, text in LINE.findall(log)]
    stage = lines[-1][0] if lines else 0.0
    if rule not in TOLD:
        return stage, stage
    steps = [at for at, text in lines if STEP.search(text)]
    if rule == "train_model" and steps:
        return stage, max(steps) - min(at for at, text in lines if TRAINING.search(text))
    return stage, min(sum(float(a or b) for _, text in lines for a, b in TIMED.findall(text)), stage)


def by_rule(found: Sequence[Spent]) -> str:
    """The table of rules: medians of the parts, and what jobs cost beyond their work."""
    rules = defaultdict(list)
    for job in found:
        rules[job.rule].append(job)
    parts = ("waiting", "snakemake", "start", "beside", "work")
    lines = [
        "| rule | jobs | waiting, s | Snakemake | start | beside the work | work | beyond the work | goal | within | most |",
        f"| --- |{' ---: |' * 10}",
    ]
    for rule, of_it in sorted(rules.items(), key=lambda item: -sum(job.beyond for job in item[1])):
        medians = [f"{statistics.median(getattr(job, part) for job in of_it):.2f}" for part in parts]
        beyond, goal = [job.beyond for job in of_it], GOALS[rule in TOLD]
        within = sum(seconds <= goal for seconds in beyond)
        cells = [f"{statistics.median(beyond):.2f}", f"≤ {goal:g}", f"{within} of {len(of_it)}", f"{max(beyond):.2f}"]
        lines.append(f"| {rule} | {len(of_it)} | {' | '.join([*medians, *cells])} |")
    return "\n".join(lines)


def of_all(found: Sequence[Spent], whole: dict[str, float]) -> str:
    """The table of core seconds: all that the cores had, and where they went."""
    cores, seconds = whole["cores"], whole["ended"] - whole["began"]
    first = min(job.began for job in found)
    last = max(job.began + job.beyond + job.work for job in found)
    parts = {
        "work": sum(job.threads * job.work for job in found),
        "stages, beside their work": sum(job.threads * job.beside for job in found),
        "start of jobs, with imports": sum(job.threads * job.start for job in found),
        "Snakemake, at jobs": sum(job.threads * job.snakemake for job in found),
        "before the first job": cores * first,
        "after the last job": cores * (seconds - last),
    }
    parts["no job to run, or none chosen yet"] = cores * seconds - sum(parts.values())
    lines = [f"| {seconds:.0f} s of {cores:.0f} cores | core seconds | share |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {spent:.0f} | {spent / cores / seconds:.0%} |" for name, spent in parts.items()]
    return "\n".join(lines)


def main() -> None:
    """Run, print the tables, write results/bench/overhead.json."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("configs", nargs="*", type=Path, default=[Path("config/config.yaml")])
    parser.add_argument("--cores", default="all")
    parser.add_argument("--read", action="store_true", help="read the last run again")
    given = parser.parse_args()
    if not given.read:
        run(given.configs, given.cores)
    whole = json.loads((PLACE / "run.json").read_text(encoding="utf-8"))
    found = jobs(PLACE, whole["began"])
    print(of_all(found, whole), by_rule(found), sep="\n\n")
    out = PLACE.with_suffix(".json")
    out.write_text(json.dumps([asdict(job) for job in found], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
