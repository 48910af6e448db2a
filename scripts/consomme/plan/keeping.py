"""`keep` of trainings: whose weights stay once everything is made, and which are to be made again for jobs to come."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from consomme.common.errors import ConsommeError
from consomme.common.once import free
from consomme.common.tidied import tidied, tidy
from consomme.plan import rungs
from consomme.plan.graph import Graph
from consomme.plan.items import BEST, RESULTS, Model
from consomme.plan.plan import Plan, Study
from consomme.plan.relabelled import RelabelledCorpus


def going(study: Study) -> list[Model]:
    """The models whose weights go once everything is made: of a node with `keep: best` its runs, with `keep: none` the best
    of them too; and what they had at rungs."""
    found = [job for graph in study.graphs.values() for m in graph.models if _goes(graph, m) for job in rungs.jobs(m)]
    return [*{m.id: m for m in found if m.stage == "train" or m.run == BEST}.values()]


def refuse_with_store(plan: Plan) -> None:
    """ConsommeError if weights of the plan go, as those in a store would not."""
    for study in plan.studies.values():
        if models := going(study):
            raise ConsommeError(
                f"experiments.{study.name}.models.{models[0].node}: `keep` removes weights from this disk alone, and results lie "
                "in a store here: leave `keep` out, and remove what you don't need by the store's own means"
            )


def _goes(graph: Graph, model: Model) -> bool:
    keep = graph.keep(model.node)
    return keep == "none" or (keep == "best" and model.run != BEST)


def tidy_up(plan: Plan) -> Iterator[str]:
    """Remove these weights, and the states they could be taken from, if nothing of the plan is left to be made. Yields a line
    for each experiment."""
    if any(not path.exists() for path in _outputs(plan)):
        return
    for study in plan.studies.values():
        models, costs = going(study), _costs(study)
        freed = [tidy(Path(m.folder), [row for row in costs if _is_of(m, row, study)]) for m in models]
        for model in models:
            state = Path(f"{RESULTS}/{model.experiment}/state/{model.state_id}")
            if all(map(free, state.glob("*/lock"))):
                shutil.rmtree(state, ignore_errors=True)
        if any(freed):
            nodes = ", ".join(dict.fromkeys(m.node for m in models))
            count, size = sum(map(bool, freed)), sum(freed) / 2**20
            yield f"{study.name}: removed the weights of {count} models of {nodes}, {size:.1f} MiB, as `keep` says"


def again(plan: Plan) -> list[Model]:
    """The models whose weights were removed and that are made again, as jobs to come read them."""
    waiting = [model for models in _read(plan) for model in models]
    seen: set[str] = set()
    found = []
    while waiting:
        model = waiting.pop()
        if model.marker in seen:
            continue
        seen.add(model.marker)
        if Path(model.marker).exists():
            if not tidied(Path(model.folder)):
                continue
            found.append(model)
        waiting += _reads(model)
    return found


def _reads(model: Model) -> list[Model]:
    return [*model.parents.values(), *model.before.values(), *model.teachers.values(), *model.references.values()]


def _read(plan: Plan) -> Iterator[Iterable[Model]]:
    """The models that the jobs to come read."""
    for model in plan.models.values():
        if not Path(model.marker).exists():
            yield _reads(model)
    for evaluation in plan.evaluations.values():
        if not Path(evaluation.path).exists():
            yield [evaluation.model]
    for landscape in plan.landscapes.values():
        if not Path(landscape.path).exists():
            yield landscape.models
    for corpus in plan.corpora.values():
        if isinstance(corpus, RelabelledCorpus) and not Path(corpus.marker).exists():
            yield corpus.models


def _outputs(plan: Plan) -> Iterator[Path]:
    for item in (*plan.models.values(), *plan.corpora.values()):
        yield Path(item.marker)
    for item in (*plan.evaluations.values(), *plan.landscapes.values()):
        yield Path(item.path)
    for study in plan.studies.values():
        yield from (Path(study.folder) / "costs.tsv", Path(study.folder) / "report.html")


def _costs(study: Study) -> list[dict[str, str]]:
    with (Path(study.folder) / "costs.tsv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def _is_of(model: Model, row: dict[str, str], study: Study) -> bool:
    replicate = model.replicate if len(study.graphs) > 1 else ""
    return (row["model"], row["replicate"]) == (model.name, replicate)
