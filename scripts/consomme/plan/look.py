"""Commands that show a plan: overview of jobs, answers to claims, unused files."""

from __future__ import annotations

import re
import shutil
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from consomme.common.files import left_over
from consomme.common.once import free
from consomme.common.tidied import tidied
from consomme.plan import keeping, memory, rungs
from consomme.plan.estimates import Estimates, Guess
from consomme.plan.items import RESULTS, Model
from consomme.plan.plan import Plan, Study
from consomme.plan.prospects import prospects
from consomme.plan.relabelled import RelabelledCorpus

MISSING = "?"
DAY = 86400.0  # seconds
HALF_FILE = re.compile(r"\..+\.[0-9a-f]{12}")  # as `whole_file` names what it writes
PREPARED = ("logs", "benchmarks", "state", "parts")  # folders beside those of corpora
WIDE = 200  # columns of a table written to a file or a pipe


def overview(plan: Plan) -> None:
    """Print, by experiment and node: runs, finished models, hours and disk space; ~ marks estimates."""
    console = Console(width=None if sys.stdout.isatty() else WIDE)
    problems = plan.problems()
    estimates = Estimates(plan.models.values())
    for study in plan.studies.values():
        console.print(_table(study, estimates))
        for line in [*_halved(study), *_searched(study), *_going(study, estimates)]:
            console.print(line, soft_wrap=True, highlight=False)
        console.print(_left(study.jobs, estimates), soft_wrap=True, highlight=False)
        for line in prospects(study):
            console.print(line, soft_wrap=True, markup=False, highlight=False)
    ready = sum(Path(c.marker).exists() for c in plan.corpora.values())
    todo = [m for m in plan.models.values() if not Path(m.marker).exists()]
    evaluations = [e for e in plan.evaluations.values() if not Path(e.path).exists()]
    console.print(f"corpora: {len(plan.corpora)}, {ready} prepared")
    for corpus in plan.corpora.values():
        if isinstance(corpus, RelabelledCorpus) and corpus.origin:
            by = ", ".join(f"{m.experiment}/{m.name} #{m.replicate}" for m in corpus.models)
            there = "there" if Path(corpus.marker).exists() else "to do"
            console.print(
                f"  {corpus.name}: {corpus.origin.name} relabelled by {by}; {there}",
                soft_wrap=True,
                markup=False,
                highlight=False,
            )
    landscapes = [s for s in plan.landscapes.values() if not Path(s.path).exists()]
    unready = [c for c in plan.corpora.values() if not Path(c.marker).exists()]
    parts = sum(c.parts for c in unready if c.parts > 1)
    jobs = len(unready) + parts + len(todo) + len(evaluations) + len(landscapes)
    left = [f"at most {_counted(jobs, 'job')}"] * bool(jobs)
    left += ["the reports"] * bool(jobs or unfinished(plan))
    left = f"{' and '.join(left)} to do" if left else "the reports too"
    console.print(f"models: {len(plan.models)}, {len(plan.models) - len(todo)} there; {left}")
    if remade := keeping.again(plan):
        nodes = ", ".join(dict.fromkeys(f"{m.experiment}/{m.node}" for m in remade))
        why = f"of {nodes}: their weights were removed, as `keep` says, and jobs to come read them"
        console.print(f"to be made again: {_counted(len(remade), 'model')} {why}", soft_wrap=True, markup=False)
    if problems:
        console.print("missing on this machine:", style="bold")
        console.print("\n".join(problems), soft_wrap=True, markup=False, highlight=False)
    for caution in plan.cautions():
        console.print(caution, soft_wrap=True, markup=False, highlight=False)


def _table(study: Study, estimates: Estimates) -> Table:
    title = f"{study.name}: {_counted(len(study.graphs), 'replicate')}, {_counted(len(study.claims), 'claim')}"
    table = Table(title=title, title_justify="left")
    # wrap long names instead of cutting them: commands need the whole name
    table.add_column("node", no_wrap=True, overflow="fold")
    table.add_column("verb", no_wrap=True)
    for column in ("runs", "there", "steps a run", "kept a run", "hours to do", "MiB each", "GiB to train"):
        table.add_column(column, justify="right")
    nodes: dict[tuple[str, str], dict[str, Model]] = {}
    for model in study.models:
        best = model.run == "best" and model.stage == "average"
        key = (model.name, "choose") if best else (model.node, model.verb)
        nodes.setdefault(key, {})[model.id] = model
    for (name, verb), models in nodes.items():
        _row(table, name, verb, list(models.values()), estimates)
    return table


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _row(table: Table, name: str, verb: str, models: list[Model], estimates: Estimates) -> None:
    there = [m for m in models if Path(m.marker).exists()]
    steps = {str(m.identity["settings"].get("max_steps") or "epochs") for m in models if m.stage == "train"}
    kept = {str(n) for m in models if (n := _kept(m.identity["settings"]))}
    jobs = {job.id: job for m in models for job in rungs.jobs(m)}.values()
    hours = [estimates.seconds(job) for job in jobs if not Path(job.marker).exists()]
    shown = "0" if not hours else MISSING if None in hours else f"~{sum(h or 0 for h in hours) / 3600:.2f}"
    sizes = [size for m in there or models if (size := estimates.size(m))]
    size = MISSING
    if sizes:
        size = f"{'' if there else '~'}{statistics.median(s.value for s in sizes) / 2**20:.1f}"
    counts = str(len(models)), str(len(there)), ", ".join(sorted(steps)), ", ".join(sorted(kept))
    table.add_row(name, verb, *counts, shown, size, _memory(models, estimates))


def _memory(models: Iterable[Model], estimates: Estimates) -> str:
    """The most that a training of a node needs in memory; empty if it has none."""
    trained = [m for m in models if m.stage == "train"]
    known = [found.total for m in trained if (found := memory.of(m, estimates))]
    return f"~{max(known) / 2**30:.1f}" if known else MISSING * bool(trained)


def _left(models: Iterable[Model], estimates: Estimates) -> str:
    """The hours and bytes still needed, and what is missing for an estimate."""
    todo = [m for m in {m.id: m for m in models}.values() if not Path(m.marker).exists()]
    if not todo:
        return "all models are there"
    hours = [s / 3600 for m in todo if (s := estimates.seconds(m)) is not None]
    sizes = [s.value * _copies(m, s, estimates) for m in todo if (s := estimates.size(m))]
    known = [_time(sum(hours))] * bool(hours) + [_size(sum(sizes))] * bool(sizes)
    lines = [f"models to come: {', '.join(known)}"] if known else []
    states = [bytes_ for m in todo if m.stage == "train" and (bytes_ := memory.on_disk(m, estimates))]
    if states:
        together = f", {_size(sum(states))} if all {len(states)} run at once" if len(states) > 1 else ""
        lines.append(f"checkpoints, until a training has ended: {_size(max(states))}{together}")
    if len(hours) < len(todo):
        lines.append(f"hours {MISSING}: no job of their kind has ended here yet")
    if len(sizes) < len(todo):
        unknown = dict.fromkeys(m.node for m in todo if m.stage == "start" and estimates.size(m) is None)
        lines.append(f"MiB {MISSING}: known once {', '.join(unknown) or 'their parents'} is fetched")
    return "; ".join(lines)


def _time(hours: float) -> str:
    return f"about {hours:.1f} hours" if hours >= 1 else f"about {_counted(max(round(hours * 60), 1), 'minute')}"


def _size(found: float) -> str:
    return f"about {found / 2**30:.1f} GiB" if found >= 2**30 else f"about {max(round(found / 2**20), 1)} MiB"


def _kept(settings: dict[str, Any]) -> int:
    """The most copies of the model that a training keeps besides the model itself."""
    kept = settings.get("checkpoints") or {}
    means = -(-(settings.get("max_steps") or 0) // kept["every"]) if kept.get("mean") else 0
    return (kept.get("last") or 0) + (kept.get("best") or 0) + bool(kept.get("ema")) + means


def _copies(model: Model, size: Guess, estimates: Estimates) -> float:
    """The disk space that a model takes, with what is kept besides it, in copies of it. A rung keeps its state, with the
    optimizer's, to go on from; what has been stopped is links."""
    if model.stage == "average" and {"keep", "study"} & model.identity["settings"].keys():
        return 0.0
    state = 0.0
    if "until" in model.identity:
        needs = memory.of(model, estimates)
        state = 1 + (needs.optimizer if needs else 2 * size.wide) / size.value
    return rungs.share(model) * (1 + state + _kept(model.identity["settings"]))


def _halved(study: Study) -> list[str]:
    """For each sweep that stops runs early: how many runs take how many steps, of one replicate."""
    lines = []
    for node in dict.fromkeys(m.node for m in study.first.models if rungs.stops(m)):
        runs = [m for m in study.first.models if m.node == node and rungs.stops(m)]
        trained = {job.id: job for run in runs for job in rungs.jobs(run) if job.stage == "train"}.values()
        at: dict[int, list[Model]] = {}
        for job in trained:
            at.setdefault(rungs.end(job), []).append(job)
        taken = round(sum(rungs.steps(job) * rungs.share(job) for job in trained))
        ladder = ", ".join(f"{round(len(found) * rungs.share(found[0]))} to step {end}" for end, found in at.items())
        whole = sum(rungs.end(run) for run in runs)
        lines.append(f"{node}: {ladder}; at most {taken} steps, and {whole} without halving")
    return lines


def _searched(study: Study) -> list[str]:
    """For each sweep that Optuna samples: how many trials in how many generations, of one replicate."""
    lines = []
    for best in (m for m in study.first.models if m.identity["settings"].get("study")):
        count, batch = len(best.parents), best.identity["settings"]["study"]["batch"]
        lines.append(f"{best.node}: {count} trials in {-(-count // batch)} generations, {batch} side by side")
    return lines


def _going(study: Study, estimates: Estimates) -> list[str]:
    """What `keep` removes once everything is made."""
    models = [m for m in keeping.going(study) if not tidied(Path(m.folder))]
    sizes = [size.value for m in models if (size := estimates.size(m))]
    if not models:
        return []
    space = f", {_size(sum(sizes))}," if sizes else ""
    return [
        f"once everything is made, the weights of {_counted(len(models), 'model')}{space} are removed, as `keep` says"
    ]


def answers(plan: Plan) -> None:
    """Print each experiment's summary and the path of its report, or the progress of an unfinished run."""
    for study in plan.studies.values():
        summary = Path(study.folder) / "summary.md"
        if summary.exists():
            print(summary.read_text(encoding="utf-8").rstrip())
            print(f"\nThe page to read: {study.folder}/report.html\n")
        else:
            models = {m.id: m for m in study.models}.values()
            there = sum(Path(m.marker).exists() for m in models)
            print(f"# {study.name}: not finished; {there} of {_counted(len(models), 'model')} there\n")


def unfinished(plan: Plan) -> list[str]:
    """The experiments that have no report yet."""
    return [name for name, study in plan.studies.items() if not (Path(study.folder) / "report.html").exists()]


def clean(plans: Iterable[Plan], remove: bool) -> None:
    """List the models, their unfinished work and prepared corpora that no plan uses, and unfinished folders of killed jobs.
    remove: delete them."""
    plans = list(plans)
    used = {c.id for p in plans for c in p.corpora.values()}
    by_experiment: dict[str, set[str]] = {}
    for plan in plans:
        for name, study in plan.studies.items():
            by_experiment.setdefault(name, set()).update(m.id for m in (*study.jobs, *study.landscapes))
            by_experiment[name].update(m.state_id for m in study.jobs)
    found = [p for p in _folders("prepared") if p.name not in used and p.name not in PREPARED]
    found += [p for kind in ("state", "parts") for p in _folders(f"prepared/{kind}") if p.name not in used]
    # parts of finished corpora, and of another number of them than is wanted
    wanted = {c.id: str(c.parts) for p in plans for c in p.corpora.values() if not Path(c.marker).exists()}
    found += [p for corpus in used for p in _folders(f"prepared/parts/{corpus}") if p.name != wanted.get(corpus)]
    for experiment, ids in sorted(by_experiment.items()):
        for kind in ("models", "state", "hypotheses"):
            found += [p for p in _folders(f"{experiment}/{kind}") if p.name not in ids]
    found += [
        p
        for kind in ("prepared", *sorted(by_experiment))
        for p in _killed(f"{kind}/state")
        if p.parent.parent not in found
    ]
    found += [path for path in _half_made() if not any(map(path.is_relative_to, found))]
    total = 0
    for path in found:
        total += (size := _bytes(path))
        print(f"{size / 2**20:8.1f} MiB  {path}")
        if remove and path.is_dir():
            shutil.rmtree(path)
        elif remove:
            path.unlink()
    print(
        f"{total / 2**20:8.1f} MiB in {len(found)} folders and files {'removed' if remove else 'not used; --yes (make: YES=1) removes them'}"
    )
    for path in _folders("."):
        if path.name not in (*by_experiment, "prepared", "dag"):
            what = (
                "kept to save time, and computed again when needed" if path.name == "cache" else "of another experiment"
            )
            print(f"{_bytes(path) / 2**20:8.1f} MiB  {path}, not looked at: {what}")


def _killed(place: str) -> list[Path]:
    """The unfinished folders of jobs that don't run any more."""
    places = [key for state in _folders(place) for key in sorted(state.iterdir()) if free(key / "lock")]
    return [path for key in places for path in left_over(key / "finished")]


def _half_made() -> list[Path]:
    """Single files that killed processes were writing, and the engines' copies of models that killed evaluations left: by their
    names, and a day old."""
    results = Path(RESULTS)
    files = [p for p in results.rglob(".*.????????????") if HALF_FILE.fullmatch(p.name) and p.is_file()]
    copies = [p for p in results.glob("*/state/*/engine-*") if p.is_dir()]
    return sorted(p for p in (*files, *copies) if p.lstat().st_mtime < time.time() - DAY)


def _bytes(place: Path) -> float:
    """The size of a folder or file. Files under models and state may be hard links to each other: each counts as its share."""
    files = place.rglob("*") if place.is_dir() else [place]
    return sum(f.stat().st_size / f.stat().st_nlink for f in files if f.is_file() and not f.is_symlink())


def _folders(place: str) -> list[Path]:
    root = Path(RESULTS) / place
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.is_symlink()) if root.is_dir() else []
