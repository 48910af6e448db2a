"""Layers at random: the baseline that a search has to beat."""

from __future__ import annotations

import math
import random as lots

from pydantic import Field

from consomme.common.log import say
from consomme.common.settings import Section
from consomme.common.values import Integer
from consomme.prune.choosers.base import Answer, Chooser, Question
from consomme.prune.choosers.tried import Tried


class Settings(Section):
    """Settings of random_search."""

    rank: Integer = Field(1, ge=1, le=10**6, description="the k-th best set that was tried, instead of the best")


def random(question: Question) -> Answer:
    """One draw, the same for the same seed."""
    return sorted(lots.Random(question.seed).sample(range(question.depth), question.drop)), []


def random_search(question: Question) -> Answer:
    """The best of different random draws, as many as `greedy` evaluates (all possible sets if there are fewer). With rank:
    the k-th best."""
    tried, count = Tried(question), _count(question)
    draw, draws = lots.Random(question.seed), {}
    while len(draws) < count:
        gone = draw.sample(range(question.depth), question.drop)
        draws[tuple(n for n in range(question.depth) if n not in gone)] = None
    for kept in sorted(draws):  # neighbours share their first layers
        question.near(kept)
        tried.value(kept)
    chosen, ranked = tried.ranked((question.settings or Settings()).rank)
    say(f"best of {count} draws: objective {max(map(tried.value, draws)):.4f}")
    trace = [
        {"draw": i, "layers": [n + 1 for n in tried.gone(kept)], "objective": tried.value(kept)}
        for i, kept in enumerate(draws, 1)
    ]
    return tried.gone(chosen), [*trace, *ranked]


def _count(question: Question) -> int:
    depth, drop = question.depth, question.drop
    return min(sum(depth - i for i in range(drop)), math.comb(depth, drop))


RANDOM = Chooser("random", random, seeded=True)
RANDOM_SEARCH = Chooser(
    "random_search", random_search, searches=True, by_metric=True, seeded=True, settings=Settings, tries=_count
)
