"""What a layer chooser is. This module imports nothing heavy: the plan reads the records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Objective = Callable[[Sequence[int]], float]  # the layers that stay, from 0, ascending -> higher is better
Similarity = Callable[
    [], list[list[float]]
]  # [depth + 1, depth + 1]: mean cosine between the states before, between and
# after the layers on the development sets


@dataclass(frozen=True)
class Question:
    """Which `drop` of `depth` layers of one side go? objective and similarity look at development sets: they are there for
    choosers that search; seed: the replicate's, for those that draw."""

    depth: int
    drop: int
    seed: int = 0
    objective: Objective | None = None
    similarity: Similarity | None = None


Answer = tuple[
    list[int], list[dict[str, Any]]
]  # the layers that go, from 0; the steps as JSON, where layers count from 1


@dataclass(frozen=True)
class Chooser:
    """name: the word in configurations; choose(question) -> answer; searches: whether it looks at development sets;
    seeded: whether it draws at random; layers_only: whether it looks at the states around whole layers, so that
    sublayers are beyond it."""

    name: str
    choose: Callable[[Question], Answer]
    searches: bool = False
    seeded: bool = False
    layers_only: bool = False
