"""Heads by lot: what a score has to beat."""

from __future__ import annotations

import random

from consomme.prune.scores.base import HeadScore, Scores, Subject


def lots(subject: Subject) -> Scores:
    """Uniform numbers, the same for the same seed."""
    from consomme.families.surgery import heads

    draw = random.Random(subject.seed)
    return {
        g: [[draw.random() for _ in range(count)] for count in by]
        for g, by in heads(subject.model, subject.family).items()
    }


RANDOM = HeadScore("random", lots, seeded=True)
