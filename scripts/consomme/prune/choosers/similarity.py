"""Layers that change their input least, by the cosine between the states before and after them on the development sets."""

from __future__ import annotations

import math

from consomme.prune.choosers.base import Answer, Chooser, Question


def similarity(question: Question) -> Answer:
    """The layers with the least block influence, 1 - cos(before, after) (Men et al. 2024, arXiv 2403.03853)."""
    assert question.similarity is not None, "similarity needs the states"
    cosines = question.similarity()
    influence = [1 - cosines[n][n + 1] for n in range(question.depth)]
    gone = sorted(sorted(range(question.depth), key=lambda n: (influence[n], n))[: question.drop])
    return gone, [{"layer": n + 1, "influence": value} for n, value in enumerate(influence)]


def angular(question: Question) -> Answer:
    """The block of `drop` consecutive layers with the least angle, arccos(cos(before, after)) / π (Gromov et al. 2024,
    arXiv 2403.17887)."""
    assert question.similarity is not None, "angular needs the states"
    cosines = question.similarity()
    starts = range(question.depth - question.drop + 1)
    angle = [math.acos(max(-1.0, min(1.0, cosines[n][n + question.drop]))) / math.pi for n in starts]
    first = min(starts, key=lambda n: angle[n])
    return list(range(first, first + question.drop)), [{"from": n + 1, "angle": value} for n, value in enumerate(angle)]


SIMILARITY = Chooser("similarity", similarity, searches=True, layers_only=True)
ANGULAR = Chooser("angular", angular, searches=True, layers_only=True)
