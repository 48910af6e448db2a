"""Layers by lot: what a search has to beat."""

from __future__ import annotations

import math
import random as lots

from consomme.common.stage import say
from consomme.prune.choosers.base import Answer, Chooser, Question


def random(question: Question) -> Answer:
    """One draw, the same for the same seed."""
    return sorted(lots.Random(question.seed).sample(range(question.depth), question.drop)), []


def random_search(question: Question) -> Answer:
    """The best of as many different draws as `greedy` evaluates (of all choices, where there are no more than that)."""
    assert question.objective is not None, "random_search needs an objective"
    depth, drop = question.depth, question.drop
    count = min(sum(depth - i for i in range(drop)), math.comb(depth, drop))
    draw, seen = lots.Random(question.seed), {}
    while len(seen) < count:
        gone = tuple(sorted(draw.sample(range(depth), drop)))
        if gone not in seen:
            value = question.objective([n for n in range(depth) if n not in gone])
            seen[gone] = -math.inf if math.isnan(value) else value
    best = max(seen, key=lambda gone: seen[gone])
    say(f"best of {count} draws: objective {seen[best]:.4f}")
    return list(best), [
        {"draw": i, "layers": [n + 1 for n in gone], "objective": v} for i, (gone, v) in enumerate(seen.items(), 1)
    ]


RANDOM = Chooser("random", random, seeded=True)
RANDOM_SEARCH = Chooser("random_search", random_search, searches=True, seeded=True)
