"""Importance by the size of a unit's weights: cheap, without data, a baseline for scores that read data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consomme.prune.scores.base import Score, Scores, Subject

if TYPE_CHECKING:
    from consomme.families.units import Part


def magnitude(subject: Subject) -> Scores:
    """The Euclidean length of all weights of the unit: rows of its input projections (query, key and value, or up),
    columns of its output projection."""

    def lengths(part: Part) -> list[float]:
        squares: Any = sum(w.detach().double().square().sum(1) for w in part.weights())
        return squares.sqrt().tolist()

    return {group: [lengths(part) for part in by] for group, by in subject.parts().items()}


MAGNITUDE = Score("magnitude", magnitude, by_module=True)
