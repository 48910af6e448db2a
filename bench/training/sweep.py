"""Time of 16 runs beyond their own compute."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from training.table import Line, line
from training.workbench import REPOSITORY, Bench

RATES = (1e-4, 2e-4, 3e-4, 4e-4, 5e-4, 7e-4, 1e-3, 1.5e-3)  # each with SpecAugment and without


def sweep(bench: Bench) -> Iterator[list[Line]]:
    """16 runs of the demo's sweep of its recogniser by Snakemake, `threads` runs at once on one core each."""
    demo = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text(encoding="utf-8"))
    experiment = demo["experiments"]["spoken-numbers"]
    models = experiment["models"]
    tuned = {
        **models["tuned"],
        "sweep": {"grid": {"learning_rate": list(RATES), "augment.spec_augment": [False, True]}},
    }
    base = {**models["base"], "max_steps": 10, "warmup_steps": 1}
    if bench.smoke:
        tuned |= {"max_steps": 10, "warmup_steps": 1, "sweep": {"grid": {"learning_rate": list(RATES[:4])}}}
    experiment = {**experiment, "models": {"untrained": models["untrained"], "base": base, "tuned": tuned}}
    experiment.pop("claims")
    corpora = {name: corpus for name, corpus in demo["corpora"].items() if name.startswith("spoken")}
    shutil.rmtree(bench.place / "results/spoken-numbers", ignore_errors=True)
    plan = bench.prepare({"corpora": corpora, "experiments": {"spoken-numbers": experiment}}, "spoken-numbers/base")
    runs = [m for m in plan.models.values() if m.node == "tuned" and m.stage == "train"]
    # one run alone, twice: the first fills the cache of features
    single = Bench(bench.place, 1, 1, bench.data, None, bench.smoke)
    alone = [single.ours(runs[0]) for _ in range(2)][-1]
    own = alone[0][-1]["ended"] - alone[0][0]["began"]
    wall = bench.snakemake([m.marker for m in runs])
    loops = [_last(bench.folder(m) / "progress.jsonl")["seconds"] for m in runs]
    jobs = [_seconds(bench.place / f"results/spoken-numbers/benchmarks/train/{m.id}.tsv") for m in runs]
    count, at_once = len(runs), bench.threads
    yield [
        line(f"{count} runs, {at_once} at once: wall time against the steps of one alone, {count / at_once:g} times",
             wall, own * count / at_once, "s", "≤", 1.15),
        line("against the steps of all, as they ran", wall, sum(loops) / at_once, "s"),
        line("against a whole process alone", wall, alone[1].seconds * count / at_once, "s", "≤", 1.15),
        line("against all processes, as they ran", wall, sum(jobs) / at_once, "s"),
        line("a process against its steps, alone", alone[1].seconds, own, "s"),
        line("a process against its steps, in the sweep", statistics.mean(jobs), statistics.mean(loops), "s"),
    ]  # fmt: skip


def _last(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8").splitlines()[-1])


def _seconds(path: Path) -> float:
    names, values = (row.split("\t") for row in path.read_text(encoding="utf-8").splitlines()[:2])
    return float(dict(zip(names, values, strict=True))["s"])
