"""Units at random: the baseline that a score has to beat."""

from __future__ import annotations

import random

from consomme.prune.scores.base import Score, Scores, Subject


def lots(subject: Subject) -> Scores:
    """Uniform numbers, the same for the same seed."""
    draw = random.Random(subject.seed)
    return {g: [[draw.random() for _ in range(part.count)] for part in by] for g, by in subject.parts().items()}


RANDOM = Score("random", lots, seeded=True)
