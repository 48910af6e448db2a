"""What a layer chooser is. This module imports nothing heavy: the plan reads the records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Objective = Callable[[Sequence[int]], float]  # the layers that stay, from 0, ascending -> higher is better


@dataclass(frozen=True)
class Chooser:
    """name: the word in configurations; searches: whether it asks for the objective, that is, looks at development sets;
    choose(depth, drop, objective) -> the layers that go, from 0, and its steps as JSON, where layers count from 1."""

    name: str
    searches: bool
    choose: Callable[[int, int, Objective | None], tuple[list[int], list[dict[str, Any]]]]
