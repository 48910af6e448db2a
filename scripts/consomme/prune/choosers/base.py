"""What a layer chooser is. This module imports nothing heavy: the plan reads the records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Steps = list[dict[str, Any]]  # as JSON, where layers count from 1
Answer = tuple[list[int], Steps]  # the layers that go, from 0; how they were found
Objective = Callable[[Sequence[int]], float]  # the layers that stay, from 0, ascending -> higher is better
# [depth + 1, depth + 1]: mean cosine between the states before, between and after the layers on the development sets
Similarity = Callable[[], list[list[float]]]
Learnt = Callable[
    [int, int], tuple[list[float], Steps]
]  # how many go, seed -> a score for each layer; losses on the way
Near = Callable[[Sequence[int]], None]  # the layers of a set: those asked for next begin like it
OPTIONS = ("beam", "swaps", "rank")


@dataclass(frozen=True)
class Question:
    """Which `drop` of `depth` layers of one side go? objective, similarity and learnt look at development sets: they are
    there for choosers that search; near: a hint that saves them work; seed: the replicate's, for those that draw.
    beam, swaps, rank: as in configurations, for choosers that name them among their options."""

    depth: int
    drop: int
    seed: int = 0
    objective: Objective | None = None
    similarity: Similarity | None = None
    learnt: Learnt | None = None
    near: Near = lambda kept: None
    beam: int = 1
    swaps: bool = False
    rank: int = 1


@dataclass(frozen=True)
class Chooser:
    """name: the word in configurations; choose(question) -> answer; searches: whether it looks at development sets;
    by_metric: whether it asks for the metric of choose_on, and not for the loss or hidden states alone;
    seeded: whether it draws at random; layers_only: whether it looks at the states around whole layers, so that
    sublayers are beyond it; options: those of OPTIONS that it takes; tries(question): how many sets of the wanted depth it
    tries at most, where it takes `rank`."""

    name: str
    choose: Callable[[Question], Answer]
    searches: bool = False
    by_metric: bool = False
    seeded: bool = False
    layers_only: bool = False
    options: tuple[str, ...] = ()
    tries: Callable[[Question], int] | None = None
