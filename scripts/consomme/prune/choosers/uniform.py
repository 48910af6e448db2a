"""Layers at even distances."""

from __future__ import annotations

from consomme.prune.choosers.base import Answer, Chooser, Question


def uniform(question: Question) -> Answer:
    """Up to half of the layers: divide them into `drop` groups of neighbours, as equal in size as possible, and drop the
    middle of each (of two, the upper). More than half: one group for each layer to keep, and keep the lowest of each.

    Either way the first layer stays. A third of 18 drops 2, 5, 8, 11, 14, 17; a half 2, 4, ..., 18; two thirds all but
    1, 4, 7, 10, 13, 16 (counted from 1)."""
    depth, drop = question.depth, question.drop
    if 2 * drop <= depth:
        return [(2 * i + 1) * depth // (2 * drop) for i in range(drop)], []
    stay = depth - drop
    kept = {i * depth // stay for i in range(stay)}
    return [n for n in range(depth) if n not in kept], []


def spaced(question: Question) -> Answer:
    """Keep the first and the last layer, and others between them at distances as equal as possible (Shleifer and Rush 2020,
    arXiv 2010.13002). If a single layer is kept, it is the first."""
    depth, stay = question.depth, question.depth - question.drop
    # halves are rounded to the upper layer
    kept = {(2 * i * (depth - 1) + (stay - 1)) // (2 * (stay - 1)) for i in range(stay)} if stay > 1 else {0}
    return [n for n in range(depth) if n not in kept], []


UNIFORM = Chooser("uniform", uniform)
SPACED = Chooser("spaced", spaced)
