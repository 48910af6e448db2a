"""Scores by the values of columns: speakers, languages, and what the configuration's `by` names."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from consomme.evaluate.bootstrap import unit_sums
from consomme.report.evidence import student
from consomme.report.evidence.paired import pulls
from consomme.report.evidence.scores import RESAMPLES
from consomme.report.findings.languages import language_title
from consomme.report.lineage import named
from consomme.report.outcomes import Outcomes
from consomme.results.columns import GROUPS
from consomme.results.frames import frame

MISSING = "(missing)"
MOST = 12  # distinct numbers that are a group each; more are cut at their quartiles
NAMES = ("speaker", "document", "language")  # these are never numbers, however they are spelled
LINES = 20  # groups of a column on the page
UNASKED = ("speaker", "language")  # reported where a set has several


class Label(NamedTuple):
    """A group of rows. Labels sort as groups are shown: numbers, names, missing."""

    kind: int
    number: float
    name: str


class Shown(NamedTuple):
    """A column of a test set as the page has it."""

    set: str
    by: str
    groups: int  # in all
    models: list[str]
    # (group, number of its rows, (value, ci_low, ci_high) of each model)
    rows: list[tuple[str, int, list[tuple[float, float, float]]]]


def groups(outcomes: Outcomes) -> pd.DataFrame:
    """The table GROUPS: each test set by each column, groups in their order, with 95 % intervals by the bootstrap t over the units of
    a group."""
    models, found = compared(outcomes), []
    for place in outcomes.sets("test"):
        for column, labels in _columns(outcomes, place):
            for replicate, own in labels.items():
                members: dict[Label, list[int]] = {}
                for i, label in enumerate(own):
                    members.setdefault(label, []).append(i)
                for label, rows in sorted(members.items()):
                    key = {"replicate": replicate, "set": place, "by": column, "group": label.name}
                    found += [key | score for score in _scores(outcomes, models, replicate, place, rows, column)]
    return frame(GROUPS, found)


def shown(outcomes: Outcomes, table: pd.DataFrame) -> list[Shown]:
    """The columns of the test sets in the main metric, means over replicates; of many groups the worst by the last model. A
    language is left to the page's own table, unless it was asked for."""
    if not outcomes.metrics:
        return []
    metric, found = outcomes.metrics[0], []
    sign, asked = outcomes.sign(metric), outcomes.spec.get("by", [])
    for (place, column), part in table[table["metric"] == metric].groupby(["set", "by"], sort=False):
        if column == "language" and column not in asked:
            continue
        models, order = list(dict.fromkeys(part["model"])), list(dict.fromkeys(part["group"]))
        means = part.groupby(["group", "model"])[["value", "ci_low", "ci_high", "n"]].mean()
        cells = {key: tuple(numbers) for key, *numbers in means.itertuples()}
        order = [group for group in order if all((group, model) in cells for model in models)]
        worst = sorted(order, key=lambda group: sign * cells[group, models[-1]][0])[:LINES]
        rows = [
            (group, round(cells[group, models[0]][3]), [cells[group, model][:3] for model in models])
            for group in (order if len(order) <= LINES else worst)
        ]
        found.append(Shown(str(place), str(column), len(order), models, rows))
    return found


def absent(outcomes: Outcomes, table: pd.DataFrame) -> list[str]:
    """The columns that `by` names and no test set has."""
    return [column for column in outcomes.spec.get("by", []) if column not in set(table["by"])]


def compared(outcomes: Outcomes) -> list[str]:
    """The models that claims name, the best runs, and the bases."""
    asked = {claim[side] for claim in outcomes.spec.get("claims", []) for side in ("model", "against")}
    bases = {m["name"] for m in outcomes.models if m["verb"] == "start"}
    scored = {s.model for s in outcomes.sheets.values()}
    # a claim may name a run of a sweep
    every = [*named(outcomes), *sorted(asked)]
    return [n for n in dict.fromkeys(every) if n in scored and (n in asked or n in bases or n.endswith("/best"))]


def labels_of(column: str, values: Mapping[str, Sequence[str | None]]) -> dict[str, list[Label]]:
    """The group of each row of each replicate. Numbers are cut at the quartiles over all rows where they are many."""
    known = [v for own in values.values() for v in own if v is not None]
    numbers = {v: number for v in dict.fromkeys(known) if (number := _number(v)) is not None}
    numeric = column not in NAMES and len(numbers) == len(set(known))
    cuts = None
    if numeric and len(set(numbers.values())) > MOST:
        cuts = np.unique(np.quantile([numbers[v] for v in known], [0.25, 0.5, 0.75]))

    def label(value: str | None) -> Label:
        if value is None:
            return Label(2, 0.0, MISSING)
        if not numeric:
            return Label(1, 0.0, value)
        if cuts is None:
            return Label(0, numbers[value], f"{numbers[value]:g}")
        place = int(np.searchsorted(cuts, numbers[value]))
        low, high = (f"{cuts[i]:g}" if 0 <= i < len(cuts) else "" for i in (place - 1, place))
        return Label(0, place, f"{low} to {high}" if low and high else f"up to {high}" if high else f"above {low}")

    return {replicate: [label(v) for v in own] for replicate, own in values.items()}


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _columns(outcomes: Outcomes, place: str) -> Iterator[tuple[str, dict[str, list[Label]]]]:
    """Each column of a test set, and the group of each row by replicate."""
    asked = outcomes.spec.get("by", [])
    tested = {r: sets["test"][place] for r, sets in outcomes.spec["sets"].items() if place in sets.get("test", {})}
    for column in dict.fromkeys([*asked, *UNASKED]):
        values = {replicate: _values(outcomes, outcomes.rows(names), column) for replicate, names in tested.items()}
        distinct = {value for own in values.values() for value in own}
        if len(distinct) > 1 or (column in asked and distinct != {None}):
            yield column, labels_of(column, values)


def _values(outcomes: Outcomes, rows: Any, column: str) -> list[str | None]:
    if column == "language":
        return [language_title(own) or None for own in rows.languages(outcomes.spec.get("languages") or ())]
    if column in ("speaker", "document"):
        return rows.speakers if column == "speaker" else rows.documents
    return rows.by(column)


def _scores(
    outcomes: Outcomes, models: Sequence[str], replicate: str, place: str, rows: Sequence[int], column: str
) -> Iterator[dict[str, Any]]:
    """Of each model and metric: the score over the rows with its interval. That of a speaker is about other sentences of
    this speaker, whatever the experiment's units are."""
    sheets = {m: s for m in models if (s := outcomes.sheets.get((m, replicate, "test", place)))}
    for metric in outcomes.metrics if sheets else ():
        value = outcomes.metric(metric).value
        sheet = next(iter(sheets.values()))
        every = outcomes.rows(sheet.corpora).units_by("document") if column == "speaker" else outcomes.units(sheet)
        units = every[rows]
        sums = np.stack([unit_sums(outcomes.statistics(sheet, metric)[rows], units) for sheet in sheets.values()])
        values, pull = value(sums.sum(1)), pulls(sums, value)
        low, high = student.interval(values, pull, student.bootstrap_t(pull, RESAMPLES))
        for model, total, below, above in zip(sheets, values, low, high, strict=True):
            yield {"model": model, "metric": metric, "value": float(total), "ci_low": below, "ci_high": above} | {
                "n": len(rows),
                "units": sums.shape[1],
            }
