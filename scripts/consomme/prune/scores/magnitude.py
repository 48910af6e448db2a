"""Importance by the size of a head's weights: cheap, without data, and a baseline for what looks at data."""

from __future__ import annotations

from consomme.prune.scores.base import HeadScore, Scores, Subject


def magnitude(subject: Subject) -> Scores:
    """The Euclidean length of all weights of the head: rows of query, key and value, columns of the output projection."""
    from consomme.families.surgery import groups, layers, sub

    scores: Scores = {}
    for group, stack, attention in groups(subject.family):
        for layer in layers(subject.model, stack):
            module = sub(layer, attention.path)
            heads = sub(module, attention.heads)
            inwards = [sub(module, name).weight for name in (attention.query, attention.key, attention.value)]
            parts = [*(w.unflatten(0, (heads, -1)).flatten(1) for w in inwards)]
            parts.append(sub(module, attention.out).weight.T.unflatten(0, (heads, -1)).flatten(1))
            squares = sum(part.detach().double().square().sum(1) for part in parts)
            scores.setdefault(group, []).append(squares.sqrt().tolist())
    return scores


MAGNITUDE = HeadScore("magnitude", magnitude, by_module=True)
