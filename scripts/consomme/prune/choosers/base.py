"""What a layer chooser is. This module imports nothing heavy: the plan reads the records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consomme.common.settings import Section, checked

Steps = list[dict[str, Any]]  # as JSON, where layers count from 1
Answer = tuple[list[int], Steps]  # the layers to remove, from 0; the steps of the search
Objective = Callable[[Sequence[int]], float]  # the layers kept, from 0, ascending -> value, higher is better
# [depth + 1, depth + 1]: mean cosine between the states before, between and after the layers on the development sets
Similarity = Callable[[], list[list[float]]]
Learnt = Callable[
    [int, int], tuple[list[float], Steps]
]  # number of layers to remove, seed -> a score for each layer; the losses of the steps
Near = Callable[[Sequence[int]], None]  # a set of layers: the next sets evaluated have the same first layers


@dataclass(frozen=True)
class Question:
    """Which `drop` of the `depth` layers of one side are removed?"""

    depth: int
    drop: int
    seed: int = 0  # the replicate's, for choosers that draw
    # these read development sets: set only for choosers that search
    objective: Objective | None = None
    similarity: Similarity | None = None
    learnt: Learnt | None = None
    near: Near = lambda kept: None  # a hint that saves computation
    settings: Any = None  # the chooser's own, a `Chooser.settings`; None: its defaults


@dataclass(frozen=True)
class Chooser:
    """A layer chooser."""

    name: str  # the word in configurations
    choose: Callable[[Question], Answer]
    searches: bool = False  # it reads development sets
    by_metric: bool = False  # it uses the metric of choose_on, not only the loss or hidden states
    seeded: bool = False  # it draws at random
    layers_only: bool = False  # it compares the states around whole layers, so it can't choose sublayers
    settings: type[Section] = Section  # its own keys within a side
    tries: Callable[[Question], int] | None = None  # if it has `rank`: the most sets that it can try

    def settings_of(self, plan: Mapping[str, Any]) -> Any:
        """Its settings among those of a side. ConsommeError for a setting of another chooser."""
        shared = ("keep", "drop", "by", "of", "merge")
        return checked(self.settings, {k: v for k, v in plan.items() if k not in shared and v is not None})
