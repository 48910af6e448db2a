"""Prepare, run, time and score trainings."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from measure import Run, timed
from training import watch

HERE = Path(__file__).parent.resolve()
REPOSITORY = HERE.parent.parent
PRECISIONS = ("float32", "bfloat16")
BATCH, SENTENCES = 16, 64
GROUPED = {"train_sampling_strategy": "group_by_length"}
SHIPPED = 0.05  # default share of full windows


@dataclass(frozen=True)
class Bench:
    """Folders and sizes of a benchmark run."""

    place: Path  # folder for corpora, models and runs
    rounds: int
    threads: int
    data: Path  # the folder of docs/data.md
    lhotse: Path | None  # a folder with lhotse, made by `pip install --target`
    smoke: bool  # smallest sizes, to try the script
    precisions: Sequence[str] = PRECISIONS

    def prepare(self, config: Mapping[str, Any], *nodes: str) -> Any:
        """Make the corpora and these nodes ("EXPERIMENT/NODE") by Snakemake. Returns the plan."""
        from consomme.plan.plan import Plan

        path = self.place / "config.yaml"
        path.write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
        with contextlib.chdir(self.place):
            plan = Plan(config)
        targets = [c.marker for c in plan.corpora.values()] + [t for node in nodes for t in plan.targets(node)]
        self.snakemake(targets)
        return plan

    def snakemake(self, targets: Sequence[str]) -> float:
        """Make these files of the configuration. Returns the seconds."""
        command = [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")),
            *("--profile", str(REPOSITORY / "profiles/local"), "--cores", str(self.threads)),
            *("--directory", str(self.place), "--configfile", str(self.place / "config.yaml"), "--", *targets),
        ]
        return timed(command).seconds

    def ours(self, model: Any, *options: str) -> tuple[watch.Steps, Run]:
        """Train a model of the plan, without earlier checkpoints."""
        out, record = self.place / "run", self.place / "record.json"
        shutil.rmtree(out, ignore_errors=True)
        command = [
            *(sys.executable, str(HERE / "ours.py"), str(record), *options, "--spec", model.spec),
            *("--inputs", *model.inputs.values(), "--out", str(out / "model"), "--state", str(out / "state")),
            *("--threads", str(self.threads), "--device", "cpu"),
        ]
        run = timed(command, self.place)
        return watch.read(record), run

    def peer(self, script: str, *arguments: Any) -> tuple[watch.Steps, Run]:
        """Train with a script of this folder."""
        record = self.place / "record.json"
        script_, *task = script.split()
        command = [sys.executable, str(HERE / script_), *task, str(record), *map(str, arguments)]
        run = timed([*command, "--threads", str(self.threads)], self.place)
        return watch.read(record), run

    def scored(self, plan: Any, node: str, model: Path, metric: str, window: str | None = None) -> float:
        """The metric of the model folder on the development set of `node`; window: for Whisper."""
        from consomme.evaluate.metrics import metric_named

        evaluation = next(e for e in plan.evaluations.values() if e.model.name == node)
        spec, out = json.loads(evaluation.spec), self.place / "scores/index.json"
        spec["decoding"]["window"] = window
        shutil.rmtree(out.parent, ignore_errors=True)
        inputs = [str(model), *(c.marker for c in evaluation.corpora.values())]
        command = [sys.executable, "-m", "consomme.evaluate", "--spec", json.dumps(spec), "--inputs", *inputs]
        timed([*command, "--out", str(out), "--threads", str(self.threads), "--device", "cpu"], self.place)
        entry = next(e for e in json.loads(out.read_text())["sets"] if e["split"] == "dev")
        rows = [json.loads(row) for row in (self.place / entry["path"]).read_text(encoding="utf-8").splitlines()]
        said = [[row[side] for row in rows] for side in ("reference", "hypothesis")]
        kind = metric_named(metric)
        return float(kind.value(kind.statistics(*said, spec["normaliser"]).sum(axis=0)))

    def folder(self, item: Any) -> Path:
        """The folder of a corpus or a model of the plan."""
        return self.place / item.folder


def model_of(plan: Any, name: str) -> Any:
    """The model NODE or NODE/RUN of a plan with one experiment."""
    return next(m for m in plan.models.values() if m.name == name)


def corpus_of(plan: Any, name: str) -> Any:
    return next(c for c in plan.corpora.values() if c.name == name)


def utterances(steps: watch.Steps, mean: float) -> float:
    """Utterances per second, from the seconds of audio and `mean`, the mean seconds of a clip. Batches of like lengths have
    very different numbers of utterances, so a count over few steps would depend on chance."""
    return watch.rate(steps, "seconds") / mean


def peak(threads: int, precision: str) -> float:
    """FLOP/s of the fastest product of two matrices, in a process of its own."""
    code = (
        "import sys, time, torch; torch.set_num_threads(int(sys.argv[1])); best = 0\n"
        "for n in (1024, 1536, 2048):\n"
        f"    a, b = torch.randn(n, n).to(torch.{precision}), torch.randn(n, n).to(torch.{precision})\n"
        "    for _ in range(8):\n"
        "        t = time.perf_counter(); torch.mm(a, b); best = max(best, 2 * n**3 / (time.perf_counter() - t))\n"
        "open(sys.argv[2], 'w').write(str(best))"
    )
    with tempfile.TemporaryDirectory() as place:
        timed([sys.executable, "-c", code, str(threads), f"{place}/peak"])
        return float(Path(f"{place}/peak").read_text())
