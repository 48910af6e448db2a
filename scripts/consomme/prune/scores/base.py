"""What a score of units is, which are attention heads or the neurons of feed-forward sublayers. This module imports nothing
heavy: the plan reads the records."""

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

# group (encoder.self, decoder.cross, encoder.feed_forward, ...) -> part, one a layer -> unit -> score
Scores = dict[str, list[list[float]]]


@dataclass(frozen=True)
class Subject:
    """The model whose units are scored. of: heads or neurons; sides: those whose units are scored, all where none is named;
    sets: rows with their weights, processor, languages: there for scores that look at development sets; seed: the
    replicate's; settings: of `heads` or `width`, the score's own among them."""

    model: PreTrainedModel
    family: Family
    processor: Any = None
    sets: Sequence[tuple[Rows, float]] = ()
    languages: Sequence[str] = ()
    device: str = "cpu"
    seed: int = 0
    of: str = "heads"
    sides: Collection[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def parts(self) -> dict[str, list[Part]]:
        """The parts that have the units, by group."""
        from consomme.families.units import parts

        return parts(self.model, self.family, self.of, self.sides)


@dataclass(frozen=True)
class Score:
    """A score of units."""

    name: str  # the word in configurations
    score: Callable[[Subject], Scores]  # how much each unit matters: more is more
    searches: bool = False  # it looks at development sets
    seeded: bool = False  # it draws at random
    # scores can be compared only within a part, and are divided by their length there before heads of all parts are put
    # in one order
    by_module: bool = False
    each: bool = False  # it takes a pass for each unit, too many for neurons
    settings: type[Section] = Section  # the keys that `heads` and `width` have for it alone
