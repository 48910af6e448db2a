"""Looking at a plan: what would be made, what is there, what none uses."""

from __future__ import annotations

import csv
import shutil
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from consomme.plan.items import RESULTS, Model, Relabelled
from consomme.plan.plan import Plan, Study

MISSING = "?"


def overview(plan: Plan) -> None:
    """Print, by experiment and node: runs, what is ready, hours and disk so far as earlier runs tell."""
    console = Console()
    problems = plan.problems()
    for study in plan.studies.values():
        console.print(_table(study))
    ready = sum(Path(c.marker).exists() for c in plan.corpora.values())
    todo = [m for m in plan.models.values() if not Path(m.marker).exists()]
    evaluations = [e for e in plan.evaluations.values() if not Path(e.path).exists()]
    console.print(f"corpora: {len(plan.corpora)}, {ready} prepared")
    for corpus in plan.corpora.values():
        if isinstance(corpus, Relabelled) and corpus.origin:
            by = ", ".join(f"{m.experiment}/{m.name} #{m.replicate}" for m in corpus.models)
            there = "there" if Path(corpus.marker).exists() else "to do"
            console.print(
                f"  {corpus.name}: {corpus.origin.name} relabelled by {by}; {there}",
                soft_wrap=True,
                markup=False,
                highlight=False,
            )
    landscapes = [s for s in plan.landscapes.values() if not Path(s.path).exists()]
    jobs = len(plan.corpora) - ready + len(todo) + len(evaluations) + len(landscapes)
    console.print(
        f"models: {len(plan.models)}, {len(plan.models) - len(todo)} there; at most {jobs} jobs and the reports to do"
    )
    if problems:
        console.print("missing on this machine:", style="bold")
        console.print("\n".join(problems), soft_wrap=True, markup=False, highlight=False)


def _table(study: Study) -> Table:
    replicates = len(study.graphs)
    title = f"{study.name}: {replicates} replicate{'s' if replicates > 1 else ''}, {len(study.claims)} claims"
    table = Table(title=title, title_justify="left")
    for column in ("node", "verb", "runs", "there", "steps a run", "kept a run", "hours to do", "MiB each"):
        table.add_column(column, justify="left" if column in ("node", "verb") else "right")
    nodes: dict[tuple[str, str], list[Model]] = {}
    for model in study.models:
        best = model.run == "best" and model.stage == "average"
        nodes.setdefault((model.name if best else model.node, model.verb), []).append(model)
    hours = [_row(table, name, verb, models) for (name, verb), models in nodes.items()]
    known = [h for h in hours if h is not None]
    table.caption = (
        f"about {sum(known):.1f} hours of jobs left where timed"
        if known
        else "hours are known once a run of the node has ended"
    )
    return table


def _row(table: Table, name: str, verb: str, models: list[Model]) -> float | None:
    models = list({m.id: m for m in models}.values())
    there = [m for m in models if Path(m.marker).exists()]
    steps = {str(m.identity["settings"].get("max_steps") or "epochs") for m in models if m.stage == "train"}
    seconds = [s for m in there if (s := _seconds(m)) is not None]
    kept = {str(n) for m in models if (n := _kept(m.identity["settings"]))}
    sizes = [sum(f.stat().st_size for f in Path(m.folder).rglob("*.safetensors")) for m in there]
    left = len(models) - len(there)
    hours = left * statistics.median(seconds) / 3600 if seconds else None
    size = f"{statistics.median(sizes) / 2**20:.1f}" if sizes else MISSING
    shown = "0" if not left else MISSING if hours is None else f"{hours:.2f}"
    table.add_row(
        name, verb, str(len(models)), str(len(there)), ", ".join(sorted(steps)), ", ".join(sorted(kept)), shown, size
    )
    return hours


def _kept(settings: dict[str, Any]) -> int:
    """How many models' bytes a training keeps beside its own, at most."""
    kept = settings.get("checkpoints") or {}
    means = -(-(settings.get("max_steps") or 0) // kept["every"]) if kept.get("mean") else 0
    return (kept.get("last") or 0) + (kept.get("best") or 0) + bool(kept.get("ema")) + means


def _seconds(model: Model) -> float | None:
    """The wall time of the job that made a model, from Snakemake's benchmark file."""
    path = Path(f"{RESULTS}/{model.experiment}/benchmarks/{model.stage}/{model.id}.tsv")
    if not path.exists():
        return None
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    return float(rows[0]["s"]) if rows and rows[0].get("s") else None


def answers(plan: Plan) -> None:
    """Print each experiment's summary and where its report lies."""
    for study in plan.studies.values():
        summary = Path(study.folder) / "summary.md"
        print(summary.read_text(encoding="utf-8").rstrip() if summary.exists() else f"# {study.name}: not finished")
        print(f"\nThe page to read: {study.folder}/report.html\n")


def clean(plans: Iterable[Plan], remove: bool) -> None:
    """List the models, their unfinished work and prepared corpora that no plan uses; remove them when told."""
    plans = list(plans)
    used = {c.id for p in plans for c in p.corpora.values()}
    by_experiment: dict[str, set[str]] = {}
    for plan in plans:
        for name, study in plan.studies.items():
            by_experiment.setdefault(name, set()).update(m.id for m in (*study.models, *study.landscapes))
    found = [p for p in _folders("prepared") if p.name not in used and p.name not in ("logs", "benchmarks", "state")]
    found += [p for p in _folders("prepared/state") if p.name not in used]
    for experiment, ids in sorted(by_experiment.items()):
        for kind in ("models", "state", "hypotheses"):
            found += [p for p in _folders(f"{experiment}/{kind}") if p.name not in ids]
    total = 0
    for path in found:
        # linked files stand under models and under state; each is counted where it is found first
        size = sum(f.stat().st_size / f.stat().st_nlink for f in path.rglob("*") if f.is_file())
        total += size
        print(f"{size / 2**20:8.1f} MiB  {path}")
        if remove:
            shutil.rmtree(path)
    print(
        f"{total / 2**20:8.1f} MiB in {len(found)} folders {'removed' if remove else 'not used; --yes (make: YES=1) removes them'}"
    )


def _folders(place: str) -> list[Path]:
    root = Path(RESULTS) / place
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.is_symlink()) if root.is_dir() else []
