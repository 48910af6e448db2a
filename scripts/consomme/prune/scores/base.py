"""What a score of units is, which are attention heads or the neurons of feed-forward sublayers. This module imports nothing
heavy: the plan reads the records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.data.prepared import Rows
    from consomme.families.base import Family
    from consomme.families.units import Part

# group (encoder.self, decoder.cross, encoder.feed_forward, ...) -> part, one a layer -> unit -> score
Scores = dict[str, list[list[float]]]


@dataclass(frozen=True)
class Subject:
    """The model whose units are scored. of: heads or neurons; sides: those whose units are scored, all where none is named;
    sets: rows with their weights, processor, languages: there for scores that look at development sets; seed: the
    replicate's."""

    model: PreTrainedModel
    family: Family
    processor: Any = None
    sets: Sequence[tuple[Rows, float]] = ()
    languages: Sequence[str] = ()
    device: str = "cpu"
    seed: int = 0
    of: str = "heads"
    sides: Collection[str] = ()

    def parts(self) -> dict[str, list[Part]]:
        """The parts that have the units, by group."""
        from consomme.families.units import parts

        return parts(self.model, self.family, self.of, self.sides)


@dataclass(frozen=True)
class Score:
    """name: the word in configurations; score(subject): how much each unit matters, more is more; searches: whether it
    looks at development sets; seeded: whether it draws at random; by_module: whether scores can be compared only within a
    part, and are divided by their length there before heads of all parts are put in one order; each: whether it takes a
    pass for each unit, too many for neurons."""

    name: str
    score: Callable[[Subject], Scores]
    searches: bool = False
    seeded: bool = False
    by_module: bool = False
    each: bool = False
