"""Arithmetic of layer numbers. Configurations count layers from 1; functions here count from 0 where they say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from consomme.common.errors import ConsommeError


def share(value: str | float | Fraction) -> Fraction:
    """A fraction strictly between 0 and 1, from `1/3`, `0.33` or a number."""
    try:
        found = value if isinstance(value, Fraction) else Fraction(str(value).replace(" ", ""))
    except (ValueError, ZeroDivisionError):
        raise ConsommeError(f"drop: {value!r} given; allowed: a fraction such as 1/3 or 0.33, or a list") from None
    if not 0 < found < 1:
        raise ConsommeError(
            f"drop: {value} given; a fraction lies strictly between 0 and 1, such as 1/3; to drop layer {value} alone "
            f"write a list: [{value}]"
        )
    return found


def to_drop(fraction: Fraction, count: int) -> int:
    """fraction * count, halves rounded up; at least 1, at most count - 1."""
    whole = int(fraction * count + Fraction(1, 2))  # int() rounds a positive number down
    return max(1, min(whole, count - 1))


def layers_to_drop(fraction: Fraction, depth: int) -> int:
    """The number of layers to remove from `depth`: halves rounded up, at least 1, at most depth - 1."""
    if depth < 2:
        raise ConsommeError(f"drop: {fraction} of {depth} layer: at least one layer is dropped and at least one stays")
    return to_drop(fraction, depth)


def listed(side: str, depth: int, plan: Mapping[str, Any]) -> list[int]:
    """The layers to keep, from 0, for {"keep": [...]} or {"drop": [...]}, which count from 1."""
    word = "keep" if plan.get("keep") is not None else "drop"
    given = plan[word]
    if isinstance(given, int | float | str) or not isinstance(given, Sequence):
        raise ConsommeError(
            f"layers.{side}.{word}: {given!r} given; allowed: a list such as [{given}]"
            + (", or a fraction such as 1/3" if word == "drop" else "")
        )
    absent = [n for n in given if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= depth]
    if absent:
        raise ConsommeError(f"layers.{side}.{word}: there is no layer {absent[0]}; the {side} has layers 1 to {depth}")
    if len(set(given)) < len(given):
        twice = next(n for n in given if list(given).count(n) > 1)
        raise ConsommeError(f"layers.{side}.{word}: layer {twice} is listed twice: {list(given)}")
    kept = [n for n in range(depth) if (n + 1 in given) == (word == "keep")]
    if not kept:
        raise ConsommeError(f"layers.{side}.{word}: none of the {depth} layers would stay; at least one must")
    if not given:
        raise ConsommeError(f"layers.{side}.{word}: the list is empty")
    return kept


def from_one(numbers: Sequence[int]) -> list[int]:
    """Numbers from 0, counted from 1 as in configurations and reports."""
    return [n + 1 for n in numbers]
