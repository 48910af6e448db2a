"""Sweeps that learn from their runs where to look, in a static graph of jobs.

The first generation is drawn before any job. Before each later one stands a choice of the best run so far, which also asks
Optuna for the values of the next. A training of a later generation reads them in that choice's provenance. The best of all
runs is such a choice, too, so that its record has the whole study.

    trial 1 ─┐             ┌→ trial 3 ─┐             ┌→ trial 5 ─┐
             ├→ best, next ┤           ├→ best, next ┤           ├→ best
    trial 2 ─┘             └→ trial 4 ─┘             └→ trial 6 ─┘
    (trials 1 and 2 are told before trials 5 and 6, too)

A later run's digest is that of its study, which holds the runs before it, and of its number."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from consomme.common.values import number
from consomme.plan.items import Model
from consomme.plan.problems import fail, section
from consomme.plan.rungs import STUDY
from consomme.plan.schema import TrainNode
from consomme.plan.sweeps import expand, study, with_values
from consomme.plan.trials import NUMBER
from consomme.plan.verbs import averaging, training

if TYPE_CHECKING:
    from consomme.plan.view import Graph

PLAIN = (str, int, float, bool, type(None))  # what Optuna can choose among
BESIDE = {"data.share": ["share"]}  # keys of a node that a training reads elsewhere than in its settings


def grow(
    graph: Graph,
    name: str,
    node: Any,
    first: Sequence[Model],
    points: Sequence[dict[str, Any]],
    raw: Mapping[str, Any],
    path: str,
) -> tuple[list[Model], Model | None]:
    """All runs of a node with sweep.optuna, in the order of their numbers, and the best of several. first: those of the first
    generation, which have the values `points`; raw: the node as written."""
    here = f"{path}.sweep.optuna"
    search, written = study(raw["sweep"]["optuna"], here)
    if len(first) > len(points):
        fail(
            f"{path}.train", f"names {len(first) // len(points)} models, and a study is of one; give each its own node"
        )
    _refuse_equals(points, here)
    space = {key: _space(graph, name, raw, key, value, here) for key, value in written.items()}

    def best(runs: Sequence[Model]) -> Model:
        generation = len(runs) // search.batch + 1  # the next one
        asked = {"seed": search.seed, "batch": search.batch, "generation": generation, "space": space}
        return averaging.best(graph, name, node, list(runs), path, study=asked)

    runs = [replace(run, swept={**run.swept, **point}) for run, point in zip(first, points, strict=True)]
    while len(runs) < search.n:
        asking, room = best(runs), min(search.batch, search.n - len(runs))
        runs += [_trial(first[0], len(runs) + place + 1, place, asking) for place in range(room)]
    return runs, best(runs) if len(runs) > 1 else None


def _trial(first: Model, count: int, place: int, asking: Model) -> Model:
    """The run of that number, which stands at that place of its generation (from 0). Until its job starts, it has the values
    of the first run."""
    run = f"{first.run.removesuffix(f'{NUMBER}=1')}{NUMBER}={count}"
    identity = {**first.identity, "trial": {"number": count, "place": place}}
    return replace(first, run=run, identity=identity, before={STUDY: asking}, swept={**first.swept, NUMBER: count})


def _refuse_equals(points: Sequence[dict[str, Any]], path: str) -> None:
    for i, point in enumerate(points):
        if point in points[:i]:
            fail(
                path,
                f"trials {points.index(point) + 1} and {i + 1} are drawn alike: {point}; where there are so few values, try all "
                "of them (grid), or take a smaller batch or another seed",
            )


def _space(graph: Graph, name: str, raw: Mapping[str, Any], key: str, choices: Any, path: str) -> dict[str, Any]:
    """Where a training reads the key (`path`), and its `choices` and whether these are `floats`, or `low`, `high` and whether
    it is searched in the logarithm (`log`). ConfigurationError for what Optuna, or a running job, can't set."""
    here = f"{path}.{key}"
    if isinstance(choices, list):
        for value in choices:
            if not isinstance(value, PLAIN):
                what = "Optuna chooses among numbers, texts, true, false and null"
                fail(here, f"{what}; given: {value!r}; grid, points and random take any value")
        found = [_settled(graph, name, raw, key, value, here) for value in choices]
        # JSON makes 1 of 1.0, which would have another name in tables
        return {"path": _place(key), "choices": found, "floats": any(isinstance(value, float) for value in found)}
    ((kind, bounds),) = choices.items()  # drawing from it has checked its form
    low, high = (float(number(bound)) for bound in bounds)
    if low >= high:
        fail(here, f"the first bound must be below the second; given: {bounds}")
    for bound in (low, high):
        _settled(graph, name, raw, key, bound, here)
    return {"path": _place(key), "low": low, "high": high, "log": kind == "log_uniform"}


def _place(key: str) -> list[str]:
    return BESIDE.get(key) or ["settings", *key.split(".")]


def _settled(graph: Graph, name: str, raw: Mapping[str, Any], key: str, value: Any, path: str) -> Any:
    """The value as a training gets it. ConfigurationError if the node can't have it, or if it changes anything else."""
    where = f"{graph.path}.models.{name}"
    (_, node), *_ = expand(raw, where)
    ours, plain = (_read(graph, name, one, where) for one in (with_values(node, {key: value}, where), node))
    *parents, last = _place(key)
    here, other = ours["spec"], plain["spec"]
    for part in parents:
        here, other = (one.get(part) if isinstance(one, dict) else None for one in (here, other))
    if isinstance(here, dict) and isinstance(other, dict) and last in here:
        other[last] = here[last]
        if ours == plain:
            return here[last]
    return fail(
        path,
        "can't be searched: only settings of the training itself can, for what a job reads must be known before it; sweep it "
        "with grid, points or random",
    )


def _read(graph: Graph, name: str, raw: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The spec of the training that a node without a sweep makes, and the files that it reads."""
    model = training.make(graph, name, section(TrainNode, raw, path), {NUMBER: 1}, path)[0]
    spec = {key: value for key, value in json.loads(model.spec).items() if key != "digest"}
    corpora = [corpus.digest for corpus in model.corpora.values()]
    return {"spec": spec, "files": [*model.inputs.values(), *model.sources], "corpora": corpora}
