"""Runs: names, selection by `where`, grouping by `by`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consomme.common.values import number, spell
from consomme.plan import trials
from consomme.plan.items import Model
from consomme.plan.problems import among, fail


def as_swept(given: Any, checked: Any) -> Any:
    """A swept value for names and tables: as checked if it is a plain value, as given if it is a mapping."""
    plain = isinstance(given, str | int | float) and not isinstance(given, bool)
    return checked if plain and isinstance(checked, str | int | float) else given


def run_name(own: Mapping[str, Any]) -> str:
    """The swept keys and values in sorted order: data.share=1.0,learning_rate=1e-05."""
    return ",".join(f"{key}={spell(own[key])}" for key in sorted(own))


def _same(a: Any, b: Any) -> bool:
    try:
        return number(a) == number(b)
    except (ValueError, TypeError):
        return a == b


def _known(key: str, pool: list[Model], path: str) -> None:
    """ConfigurationError if the models' values of a swept key are known only when others have been trained."""
    for model in pool:
        if key in (trials.of(model) or {}).get("space", ()):
            fail(
                path,
                f"'{model.node}' is a sweep with optuna, which finds its values of '{key}' while it runs; name {model.node}/best, "
                f"all of {model.node}, or numbers of trials (trial: [1, 2])",
            )


def selected(pool: list[Model], where: Mapping[str, Any], path: str) -> list[Model]:
    """The runs that have, for every key of `where`, one of its values."""
    for key, wanted in where.items():
        among(path, key, sorted({k for m in pool for k in m.swept}), "swept key")
        _known(key, pool, f"{path}.{key}")
        values = wanted if isinstance(wanted, list) else [wanted]
        kept = [m for m in pool if key in m.swept and any(_same(m.swept[key], v) for v in values)]
        if not kept:
            there = sorted({spell(m.swept[key]) for m in pool if key in m.swept})
            fail(f"{path}.{key}", f"no run has {wanted!r}; the runs have: {', '.join(there)}")
        pool = kept
    return pool


def groups(pool: list[Model], by: list[str], path: str) -> list[tuple[dict[str, Any], list[Model]]]:
    """(values, runs) for each combination of values of the swept keys `by`; one group if `by` is empty."""
    for key in by:
        among(path, key, sorted({k for m in pool for k in m.swept}), "swept key")
        _known(key, pool, path)
    groups: dict[str, tuple[dict[str, Any], list[Model]]] = {}
    for model in pool:
        missing = [key for key in by if key not in model.swept]
        if missing:
            fail(path, f"{model.name} was not swept over '{missing[0]}'")
        values = {key: model.swept[key] for key in by}
        groups.setdefault(run_name(values), (values, []))[1].append(model)
    return list(groups.values())
