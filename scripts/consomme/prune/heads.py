"""Which attention heads go, by their scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from consomme.common.errors import ConsommeError
from consomme.prune.layers import to_drop
from consomme.prune.scores.base import Scores


def normalised(scores: Scores) -> Scores:
    """Each attention module's scores divided by their Euclidean length, as in the paper (after Molchanov et al. 2017):
    without it, modules whose gradients are large as a whole would lose none of their heads."""

    def unit(values: list[float]) -> list[float]:
        length = math.sqrt(sum(v * v for v in values))
        return [v / length for v in values] if length > 0 else values

    return {group: [unit(values) for values in by_layer] for group, by_layer in scores.items()}


def choose(scores: Scores, fraction: Fraction, per: str = "model") -> dict[str, dict[int, list[int]]]:
    """The heads that go, numbers from 0: those of lowest score, of equals the first.

    `fraction` of all heads over all modules together, or with per "layer" of the heads of each module; halves rounded up,
    at least one; each module keeps its best head. ConsommeError where no module has a second head, or not that many can go."""
    modules = [(group, layer, values) for group, by in scores.items() for layer, values in enumerate(by)]
    total = sum(len(values) for _, _, values in modules)
    if total == len(modules):
        raise ConsommeError(f"heads.drop: each of the {total} attention modules has one head, which has to stay")
    if per == "layer":
        found: dict[str, dict[int, list[int]]] = {}
        for group, layer, values in modules:
            if len(values) > 1:
                order = sorted(range(len(values)), key=lambda head: (values[head], head))
                found.setdefault(group, {})[layer] = sorted(order[: to_drop(fraction, len(values))])
        return found
    wanted, most = max(1, math.floor(fraction * total + Fraction(1, 2))), total - len(modules)
    if wanted > most:
        raise ConsommeError(
            f"heads.drop: {fraction} of {total} heads are {wanted}; each of the {len(modules)} attention modules keeps one, so "
            f"that {most} can go at most ({Fraction(most, total)})"
        )
    order = sorted(
        (value, place, head) for place, (_, _, values) in enumerate(modules) for head, value in enumerate(values)
    )
    gone: dict[int, list[int]] = {}
    for _, place, head in order:
        taken = gone.setdefault(place, [])
        if wanted and len(taken) < len(modules[place][2]) - 1:
            taken.append(head)
            wanted -= 1
    found = {}
    for place, heads in sorted(gone.items()):
        group, layer, _ = modules[place]
        if heads:
            found.setdefault(group, {})[layer] = sorted(heads)
    return found


def describe(pruned: Mapping[str, Mapping[int, Sequence[int]]]) -> dict[str, dict[str, list[int]]]:
    """Layers and heads counted from 1, for people and provenance."""
    return {g: {str(n + 1): [h + 1 for h in heads] for n, heads in by.items()} for g, by in pruned.items()}
