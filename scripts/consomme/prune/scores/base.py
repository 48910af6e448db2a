"""The record of a score. Its units are attention heads or neurons of feed-forward sublayers. This module imports
nothing heavy: the plan reads the records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from consomme.common.settings import Section

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.data.prepared import Rows
    from consomme.families.base import Family
    from consomme.families.units import Part

# group (encoder.self, decoder.cross, encoder.feed_forward, ...) -> part, one per layer -> unit -> score
Scores = dict[str, list[list[float]]]


@dataclass(frozen=True)
class Subject:
    """The model whose units are scored."""

    model: PreTrainedModel
    family: Family
    # these three are set only for scores that read development sets
    processor: Any = None
    sets: Sequence[tuple[Rows, float]] = ()  # rows of each set, and its weight
    languages: Sequence[str] = ()
    device: str = "cpu"
    seed: int = 0  # the replicate's
    of: str = "heads"  # heads or neurons
    sides: Collection[str] = ()  # sides whose units are scored; empty: all
    settings: Mapping[str, Any] = field(default_factory=dict)  # of `heads` or `width`, with the score's own

    def parts(self) -> dict[str, list[Part]]:
        """The parts that have the units, by group."""
        from consomme.families.units import parts

        return parts(self.model, self.family, self.of, self.sides)


@dataclass(frozen=True)
class Score:
    """A score of units."""

    name: str  # the word in configurations
    score: Callable[[Subject], Scores]  # the importance of each unit: higher is more important
    searches: bool = False  # it reads development sets
    seeded: bool = False  # it draws at random
    # scores are comparable only within a part; before heads of all parts are ranked together, the scores of each part are
    # divided by their Euclidean length
    by_module: bool = False
    each: bool = False  # it needs one pass per unit, too many for neurons
    settings: type[Section] = Section  # its own keys within `heads` and `width`
