"""What a head score is. This module imports nothing heavy: the plan reads the records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.data.prepared import Rows
    from consomme.families.base import Family

Scores = dict[str, list[list[float]]]  # group (encoder.self, decoder.self, decoder.cross) -> layer -> head -> score


@dataclass(frozen=True)
class Subject:
    """The model whose heads are scored. sets: rows with their weights, processor, languages: there for scores that look at
    development sets; seed: the replicate's."""

    model: PreTrainedModel
    family: Family
    processor: Any = None
    sets: Sequence[tuple[Rows, float]] = ()
    languages: Sequence[str] = ()
    device: str = "cpu"
    seed: int = 0


@dataclass(frozen=True)
class HeadScore:
    """name: the word in configurations; score(subject): how much each head matters, more is more; searches: whether it
    looks at development sets; seeded: whether it draws at random; by_module: whether scores can be compared only within an
    attention module, and are divided by their length there before heads of all modules are put in one order."""

    name: str
    score: Callable[[Subject], Scores]
    searches: bool = False
    seeded: bool = False
    by_module: bool = False
