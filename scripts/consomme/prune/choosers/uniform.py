"""Layers at even distances."""

from __future__ import annotations

from typing import Any

from consomme.prune.choosers.base import Chooser, Objective


def choose(depth: int, drop: int, objective: Objective | None = None) -> tuple[list[int], list[dict[str, Any]]]:
    """Up to half of the layers: as many groups of neighbours, of sizes as even as can be, as layers go, and the middle of
    each goes (of two the upper). More than half: as many groups as layers stay, and the lowest of each stays.

    Either way the first layer stays. A third of 18 drops 2, 5, 8, 11, 14, 17; a half 2, 4, ..., 18; two thirds all but
    1, 4, 7, 10, 13, 16 (counted from 1)."""
    if 2 * drop <= depth:
        return [(2 * i + 1) * depth // (2 * drop) for i in range(drop)], []
    stay = depth - drop
    kept = {i * depth // stay for i in range(stay)}
    return [n for n in range(depth) if n not in kept], []


UNIFORM = Chooser("uniform", False, choose)
