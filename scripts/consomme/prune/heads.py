"""Choosing the attention heads to remove, by their scores."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction

from consomme.common.errors import ConsommeError
from consomme.prune.layers import to_drop
from consomme.prune.scores.base import Scores


def normalised(scores: Scores) -> Scores:
    """Each attention module's scores divided by their Euclidean length, as in the paper (after Molchanov et al. 2017):
    without it, modules with large gradients overall would lose no heads."""

    def unit(values: list[float]) -> list[float]:
        length = math.sqrt(sum(v * v for v in values))
        return [v / length for v in values] if length > 0 else values

    return {group: [unit(values) for values in by_layer] for group, by_layer in scores.items()}


def choose(
    scores: Scores, fraction: Fraction, per: str = "model", dead: Collection[tuple[str, int, int]] = ()
) -> dict[str, dict[int, list[int]]]:
    """The heads to remove, numbered from 0: those with the lowest scores (ties: the first).

    per "model": `fraction` of the heads of all modules together; per "layer": of the heads of each module. Halves are
    rounded up, at least one head is removed, and each module keeps its best head. dead: heads (group, layer, number)
    that were zeroed before; they don't count. ConsommeError if no module has a second head, or if fewer heads can be
    removed than `fraction` asks for."""
    living = [
        (group, layer, {head: v for head, v in enumerate(values) if (group, layer, head) not in dead})
        for group, by in scores.items()
        for layer, values in enumerate(by)
    ]
    modules = [module for module in living if module[2]]
    total = sum(len(values) for _, _, values in modules)
    if total == len(modules):
        raise ConsommeError(f"heads.drop: each of the {total} attention modules has one head, which has to stay")
    if per == "layer":
        found: dict[str, dict[int, list[int]]] = {}
        for group, layer, values in modules:
            if len(values) > 1:
                order = sorted(values, key=lambda head: (values[head], head))
                found.setdefault(group, {})[layer] = sorted(order[: to_drop(fraction, len(values))])
        return found
    wanted, most = max(1, math.floor(fraction * total + Fraction(1, 2))), total - len(modules)
    if wanted > most:
        raise ConsommeError(
            f"heads.drop: {fraction} of {total} heads are {wanted}; each of the {len(modules)} attention modules keeps one, so "
            f"that {most} can go at most ({Fraction(most, total)})"
        )
    order = sorted(
        (value, place, head) for place, (_, _, values) in enumerate(modules) for head, value in values.items()
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
