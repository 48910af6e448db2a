"""Layers at even distances."""

from __future__ import annotations

from consomme.prune.choosers.base import Answer, Chooser, Question


def uniform(question: Question) -> Answer:
    """Up to half of the layers: as many groups of neighbours, of sizes as even as can be, as layers go, and the middle of
    each goes (of two the upper). More than half: as many groups as layers stay, and the lowest of each stays.

    Either way the first layer stays. A third of 18 drops 2, 5, 8, 11, 14, 17; a half 2, 4, ..., 18; two thirds all but
    1, 4, 7, 10, 13, 16 (counted from 1)."""
    depth, drop = question.depth, question.drop
    if 2 * drop <= depth:
        return [(2 * i + 1) * depth // (2 * drop) for i in range(drop)], []
    stay = depth - drop
    kept = {i * depth // stay for i in range(stay)}
    return [n for n in range(depth) if n not in kept], []


def spaced(question: Question) -> Answer:
    """The first and the last layer stay, and the others that stay lie between them at distances as even as can be
    (Shleifer and Rush 2020, arXiv 2010.13002). A single layer that stays is the first."""
    depth, stay = question.depth, question.depth - question.drop
    # halves go to the upper layer
    kept = {(2 * i * (depth - 1) + (stay - 1)) // (2 * (stay - 1)) for i in range(stay)} if stay > 1 else {0}
    return [n for n in range(depth) if n not in kept], []


UNIFORM = Chooser("uniform", uniform)
SPACED = Chooser("spaced", spaced)
