"""Ratios of two speeds, with their interval over rounds; only for equal conditions and if the speeds' own intervals don't
overlap."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from consomme.common.evidence import of_median
from consomme.report.numbers import shown_speed

# columns of costs.tsv that must be equal -> their names in words
ALIKE = {"speed_unit": "unit", "window": "window", "decoding": "decoding", "device": "device"}

Row = Mapping[Any, Any]  # of costs.tsv or of `cost_per_model`: column -> value


class Ratio(NamedTuple):
    """A ratio of speeds in one window, if they have one, and its interval over rounds."""

    value: float
    low: float
    high: float
    window: str = ""


def unlike(first: Row, last: Row) -> str:
    """Why the speeds of two rows of costs.tsv can't be compared, in words; empty if they can."""
    different = [(words, first.get(key, ""), last.get(key, "")) for key, words in ALIKE.items()]
    return "; ".join(
        f"{words} {one or 'none'} against {other or 'none'}" for words, one, other in different if one != other
    )


def overlap(first: Row, last: Row) -> bool:
    """Whether the intervals of the two speeds overlap."""
    return last["speed_low"] <= first["speed_high"] and first["speed_low"] <= last["speed_high"]


def ratio(first: Row, last: Row) -> Ratio:
    """The ratio last / first. Rounds with the same number were measured one after the other and are compared in pairs, as
    many as both have: the median of the pairs' ratios, with its 95 % interval, or all of fewer than six pairs. Without rounds,
    the ratio of the speeds, and the low end of one is compared with the high end of the other."""
    window = last.get("window") or ""
    ours, theirs = ([float(speed) for speed in (row.get("rounds") or "").split()] for row in (last, first))
    if each := [a / b for a, b in zip(ours, theirs, strict=False)]:
        return Ratio(statistics.median(each), *(of_median(each) or (min(each), max(each))), window)
    ends = last["speed_low"] / first["speed_high"], last["speed_high"] / first["speed_low"]
    return Ratio(last["speed"] / first["speed"], *ends, window)


def compared(first: Row, last: Row) -> Ratio | str:
    """The ratio last / first of rows of costs.tsv or of `cost_per_model`; else the reason in words why there is none,
    empty if one of them was not measured."""
    first, last = _with_range(first), _with_range(last)
    if math.isnan(first["speed"]) or math.isnan(last["speed"]):
        return ""
    if why := unlike(first, last):
        return f"speeds not comparable ({why})"
    if all(first.get(key) == last.get(key) for key in ("speed", "speed_low", "speed_high", "parameters")):
        return "the same speed, being of one architecture"
    if overlap(first, last):
        ranges = [speed_range(row["speed_low"], row["speed_high"]) for row in (last, first)]
        return f"a difference in speed not measurable here ({' overlaps '.join(ranges)} {last['speed_unit']})"
    return ratio(first, last)


def in_words(found: Ratio | str) -> str:
    """2.03 times the speed in the full window (1.98 – 2.07 over rounds); or the reason why there is no ratio."""
    if isinstance(found, str):
        return found
    over = f" ({found.low:.2f} – {found.high:.2f} over rounds)" if found.low < found.high else ""
    return f"{found.value:.2f} times the speed{f' in the {found.window} window' if found.window else ''}{over}"


def speed_range(slowest: float, fastest: float) -> str:
    """An interval, such as 14.2 – 15.1."""
    low, high = shown_speed(slowest), shown_speed(fastest)
    return low if low == high else f"{low} – {high}"


def apart(costs: pd.DataFrame) -> str:
    """A caution if the speeds of an experiment were measured in different ways, else empty. costs: from `cost_per_model`."""
    timed = costs.dropna(subset="speed")
    ways = [
        f"{words} {' and '.join(_values(timed[key]))}" for key, words in ALIKE.items() if len(_values(timed[key])) > 1
    ]
    return f"Not all speeds can be compared: {', '.join(ways)}." if ways else ""


def _values(column: Iterable[Any]) -> list[str]:
    return sorted({value or "none" for value in column})


def _with_range(row: Row) -> dict[str, Any]:
    """The row, with the median as both ends of a missing interval."""
    ends = {end: row["speed"] if pd.isna(row[end]) else row[end] for end in ("speed_low", "speed_high")}
    return {**row, **ends}
