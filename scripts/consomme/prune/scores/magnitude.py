"""Importance by the size of a unit's weights: cheap, without data, and a baseline for what looks at data."""

from __future__ import annotations

from consomme.prune.scores.base import Score, Scores, Subject


def magnitude(subject: Subject) -> Scores:
    """The Euclidean length of all weights of the unit: rows of the projections that it comes out of (query, key and value,
    or up), columns of the one that it goes into."""
    return {
        group: [sum(w.detach().double().square().sum(1) for w in part.weights()).sqrt().tolist() for part in by]
        for group, by in subject.parts().items()
    }


MAGNITUDE = Score("magnitude", magnitude, by_module=True)
