"""Sweeps: many runs from one node of the configuration."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from consomme.common.values import integer, number
from consomme.plan.problems import fail, section
from consomme.plan.schema import Search, Sweep, TrainSweep

MOST = 1000  # runs of a node


def expand(raw: Mapping[str, Any], path: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The runs of a raw node: (swept keys and values, the node with those values set and no sweep)."""
    node = {key: value for key, value in raw.items() if key != "sweep"}
    if raw.get("sweep") is None:
        return [({}, node)]
    sweep = section(TrainSweep if "train" in raw else Sweep, raw["sweep"], f"{path}.sweep")
    searching = sweep.optuna if isinstance(sweep, TrainSweep) else None
    made = _points(sweep, f"{path}.sweep") if searching is None else first_trials(searching, f"{path}.sweep.optuna")
    return [(point, with_values(node, point, path)) for point in made]


def study(given: Mapping[str, Any], path: str) -> tuple[Search, dict[str, Any]]:
    """The settings of `sweep.optuna`, and the keys that it searches with their spaces, as written."""
    own = {key: value for key, value in given.items() if key in Search.model_fields}
    spaces = {key: value for key, value in sorted(given.items()) if key not in own}
    if not spaces:
        fail(path, "a key to search is needed, such as learning_rate: {log_uniform: [1e-5, 1e-3]}")
    return section(Search, own, path), spaces


def first_trials(given: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    """The points of a study that are drawn before anything is known: one batch, as `random` draws them."""
    search, spaces = study(given, path)
    return _random({"n": search.batch, "seed": search.seed, **spaces}, path)


def points(raw: Any, path: str) -> list[dict[str, Any]]:
    """The keys and values of each point of a grid, a list or a random draw, at least one."""
    return _points(section(Sweep, raw, path), path)


def _points(sweep: Sweep, path: str) -> list[dict[str, Any]]:
    if sweep.points is not None:
        if not sweep.points:
            fail(f"{path}.points", "a list with at least one point is needed")
        _few(len(sweep.points), f"{path}.points")
        return sweep.points
    if sweep.grid is not None:
        for key, values in sweep.grid.items():
            if not values:
                fail(f"{path}.grid.{key}", "a list with at least one value is needed")
        _few(math.prod(len(values) for values in sweep.grid.values()), f"{path}.grid")
        keys = sorted(sweep.grid)
        return [dict(zip(keys, v, strict=True)) for v in itertools.product(*(sweep.grid[k] for k in keys))]
    return _random(dict(sweep.random or {}), f"{path}.random")


def _few(runs: int, path: str) -> None:
    if runs > MOST:
        fail(
            path,
            f"this makes {runs} runs, and {MOST} are the most; take fewer values, or draw some with random: {{n: 100, ...}}",
        )


def _random(spec: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """n random points. Each key has its own random stream, so that adding a key doesn't change the others' values."""
    try:
        n, seed = integer(spec.pop("n")), integer(spec.pop("seed", 0))
    except KeyError:
        fail(f"{path}.n", "this key is needed: how many runs")
    _few(n, f"{path}.n")
    columns = {}
    for key, choices in sorted(spec.items()):
        stream = random.Random(f"{seed}/{key}")
        columns[key] = [_draw(stream, choices, f"{path}.{key}") for _ in range(n)]
    return [{key: values[i] for key, values in columns.items()} for i in range(n)]


def _draw(stream: random.Random, choices: Any, path: str) -> Any:
    if isinstance(choices, list) and choices:
        return stream.choice(choices)
    if isinstance(choices, Mapping) and len(choices) == 1:
        (kind, bounds), *_ = choices.items()
        if kind in ("uniform", "log_uniform") and isinstance(bounds, list) and len(bounds) == 2:
            low, high = map(number, bounds)
            if kind == "uniform":
                return float(f"{stream.uniform(low, high):.4g}")
            if low <= 0:
                fail(path, f"log_uniform needs bounds above 0; given: {bounds}")
            return float(f"{math.exp(stream.uniform(math.log(low), math.log(high))):.4g}")
    return fail(path, "a list to choose from, {uniform: [a, b]} or {log_uniform: [a, b]} is needed")


def with_values(node: Mapping[str, Any], point: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The raw node with the values of dotted keys set."""
    result = deepcopy(dict(node))
    for dotted, value in point.items():
        here = result
        *parents, last = str(dotted).split(".")
        for part in parents:
            inner = here.get(part)
            if inner is None:
                inner = here[part] = {}
            if not isinstance(inner, dict):
                fail(f"{path}.sweep.{dotted}", f"'{part}' holds {inner!r}, which has no keys of its own")
            here = inner
        here[last] = value
    return result


def settled(dump: Mapping[str, Any], dotted: str, given: Any) -> Any:
    """The value of a swept key in the checked node (0.3, not "3/10"), or as given if the node doesn't hold the key."""
    here: Any = dump
    for part in dotted.split("."):
        if not isinstance(here, Mapping) or part not in here:
            return given
        here = here[part]
    return here
