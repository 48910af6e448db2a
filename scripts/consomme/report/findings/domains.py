"""Averages of specialists, models tuned from one base on different data: every domain before and after the merge.

A value is also given as a share of the specialist's, as in the literature on merging: the accuracy over that of the
specialist, where an error rate e has the accuracy 100 - e."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from consomme.report.findings.means import mean_scores
from consomme.report.lineage import ancestors, node_of
from consomme.report.outcomes import Outcomes
from consomme.report.provenance import Records


class Cell(NamedTuple):
    """A model on a test set."""

    value: float
    share: float | None  # of the specialist's, in %; None if there is no specialist, or it has no accuracy


class Domains(NamedTuple):
    """Specialists, and what was made of them."""

    base: str | None
    specialists: tuple[str, ...]
    averages: list[str]
    # test set -> its specialist, the one that is best on the development set of that name (on the test set, if there is
    # none); None where no specialist is better than the base
    sets: dict[str, str | None]
    # model -> test set -> its value; the base first, then the specialists, then the averages
    rows: dict[str, dict[str, Cell | None]]
    # model -> the mean share over the sets with a specialist
    means: dict[str, float | None]


def domains(outcomes: Outcomes, provenance: Records, scores: pd.DataFrame, metric: str) -> list[Domains]:
    """A table for each group of specialists that were averaged. Values are means over replicates."""
    sign = outcomes.sign(metric)
    found: dict[tuple[str, str], dict[str, float]] = {}
    columns = mean_scores(scores, metric, split=None)[["split", "set", "model", "value"]]
    for split, place, model, value in columns.itertuples(index=False):
        found.setdefault((split, place), {})[model] = value
    groups: dict[tuple[str | None, tuple[str, ...]], list[str]] = {}
    for name, base, specialists in _merges(outcomes, provenance):
        groups.setdefault((base, specialists), []).append(name)
    tables = []
    for (base, specialists), averages in groups.items():
        sets: dict[str, str | None] = {}
        rows: dict[str, dict[str, Cell | None]] = {m: {} for m in [*([base] if base else []), *specialists, *averages]}
        for place in outcomes.sets("test"):
            test = found.get(("test", place), {})
            sets[place] = _specialist(found.get(("dev", place), test), base, specialists, sign)
            for model, cells in rows.items():
                cells[place] = _cell(test, model, sets[place], sign)
        means = {m: _mean([cells[s] for s, of in sets.items() if of]) for m, cells in rows.items()}
        tables.append(Domains(base, specialists, averages, sets, rows, means))
    return [table for table in tables if any(table.sets.values())]


def _specialist(values: Mapping[str, float], base: str | None, specialists: tuple[str, ...], sign: float) -> str | None:
    """The best of the specialists, if it is better than the base."""
    known = [s for s in specialists if s in values]
    best = max(known, key=lambda s: sign * values[s], default=None)
    if best is None or (base is not None and base in values and sign * values[best] <= sign * values[base]):
        return None
    return best


def _cell(values: Mapping[str, float], model: str, specialist: str | None, sign: float) -> Cell | None:
    """A model's value, and its share of the specialist's."""
    if model not in values:
        return None
    if specialist is None or specialist not in values:
        return Cell(values[model], None)
    ours, theirs = (values[m] if sign > 0 else 100 - values[m] for m in (model, specialist))
    return Cell(values[model], 100 * ours / theirs if theirs > 0 else None)


def _mean(cells: list[Cell | None]) -> float | None:
    shares = [cell.share if cell else None for cell in cells]
    known = [share for share in shares if share is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(shares) else None


def _merges(outcomes: Outcomes, provenance: Records) -> list[tuple[str, str | None, tuple[str, ...]]]:
    """(average, base, specialists) of the averages of models of different nodes, none made of another, that were trained on
    different data. The base is that of the method, else the one model that all were trained from."""
    models = {m["name"]: m for m in reversed(outcomes.models)}
    replicate = outcomes.replicates[0]
    trained = outcomes.spec.get("train", {}).get(replicate, {})

    def runs(name: str) -> list[str]:
        """The trained models that a model is, or was chosen from or made of."""
        model = models.get(name, {})
        if model.get("verb") == "train" and model.get("run") != "best":
            return [name]
        return [run for parent in model.get("parents", []) for run in runs(parent)]

    found = []
    for name in dict.fromkeys(m["name"] for m in outcomes.models):
        model = models[name]
        if model["verb"] != "average" or model.get("run") == "best" or model.get("choice"):
            continue
        parents = list(model.get("parents", []))
        settings = (provenance.get((name, replicate)) or {}).get("settings") or {}
        base, specialists = (parents[0], parents[1:]) if settings.get("base") else (None, parents)
        data = {s: frozenset(c for run in runs(s) for c in trained.get(models[run]["node"], ())) for s in specialists}
        apart = len({node_of(outcomes, s) for s in specialists}) == len(set(data.values())) == len(specialists)
        if len(specialists) < 2 or not apart or not all(data.values()):
            continue
        if any(s in ancestors(outcomes, other) for s in specialists for other in specialists):
            continue
        origins = {p for s in specialists for run in runs(s) for p in models[run].get("parents", [])}
        found.append((name, base or (origins.pop() if len(origins) == 1 else None), tuple(specialists)))
    return found
