"""What a layer chooser is. This module imports nothing heavy: the plan reads the records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consomme.common.settings import Section, checked

Steps = list[dict[str, Any]]  # as JSON, where layers count from 1
Answer = tuple[list[int], Steps]  # the layers that go, from 0; how they were found
Objective = Callable[[Sequence[int]], float]  # the layers that stay, from 0, ascending -> higher is better
# [depth + 1, depth + 1]: mean cosine between the states before, between and after the layers on the development sets
Similarity = Callable[[], list[list[float]]]
Learnt = Callable[
    [int, int], tuple[list[float], Steps]
]  # how many go, seed -> a score for each layer; losses on the way
Near = Callable[[Sequence[int]], None]  # the layers of a set: those asked for next begin like it


@dataclass(frozen=True)
class Question:
    """Which `drop` of `depth` layers of one side go?"""

    depth: int
    drop: int
    seed: int = 0  # the replicate's, for choosers that draw
    # these look at development sets: they are there for choosers that search
    objective: Objective | None = None
    similarity: Similarity | None = None
    learnt: Learnt | None = None
    near: Near = lambda kept: None  # a hint that saves a search work
    settings: Any = None  # the chooser's own, a `Chooser.settings`; None: its defaults


@dataclass(frozen=True)
class Chooser:
    """A layer chooser."""

    name: str  # the word in configurations
    choose: Callable[[Question], Answer]
    searches: bool = False  # it looks at development sets
    by_metric: bool = False  # it asks for the metric of choose_on, and not for the loss or hidden states alone
    seeded: bool = False  # it draws at random
    layers_only: bool = False  # it looks at the states around whole layers, so it can't choose sublayers
    settings: type[Section] = Section  # the keys that a side has for it alone
    tries: Callable[[Question], int] | None = None  # where it takes `rank`: how many sets it tries at most

    def settings_of(self, plan: Mapping[str, Any]) -> Any:
        """Its settings among those of a side. ConsommeError for a setting of another chooser."""
        shared = ("keep", "drop", "by", "of")
        return checked(self.settings, {k: v for k, v in plan.items() if k not in shared and v is not None})
