"""Feed-forward width: remove the neurons with the lowest scores, the same number from every layer, because a config has one
width for all layers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from consomme.common.digest import digest
from consomme.common.errors import ConsommeError
from consomme.common.log import say
from consomme.prune.layers import share, to_drop
from consomme.prune.scores.base import Scores

if TYPE_CHECKING:
    from fractions import Fraction

    from transformers import PreTrainedModel

    from consomme.families.base import Family


def neurons_to_drop(fraction: Fraction, width: int) -> int:
    """The number of neurons to remove from `width`: halves rounded up, at least 1, at most width - 1."""
    if width < 2:
        raise ConsommeError(f"{fraction} of {width} neuron: at least one goes and at least one stays")
    return to_drop(fraction, width)


def choose(scores: Scores, fraction: Fraction) -> dict[str, list[list[int]]]:
    """The neurons to remove from each part, from 0: those with the lowest scores (ties: the first)."""
    return {
        group: [sorted(sorted(range(len(v)), key=lambda n: (v[n], n))[: neurons_to_drop(fraction, len(v))]) for v in by]
        for group, by in scores.items()
    }


def prune_width(
    model: PreTrainedModel, family: Family, plan: Mapping[str, Any], judge: Callable[[], Any], seed: int
) -> dict[str, Any]:
    """Remove neurons from the feed-forward parts of `model` in place. Returns, per config key, the number of neurons kept and
    the original number, and for each part, first layer first, the fraction of its total score that was removed."""
    from consomme.families.base import value_of
    from consomme.families.units import narrow, widths
    from consomme.prune.scores.scored import scored

    began, sides = time.monotonic(), plan.get("sides") or []
    keys = {
        key: groups
        for key, groups in widths(family).items()
        if not sides or {g.partition(".")[0] for g in groups} & {*sides}
    }
    if not keys:
        raise ConsommeError(f"width: the places of the feed-forward parts of '{family.name}' are unknown")
    before = {key: value_of(model.config, key) for key in keys}
    scores = scored(plan, "neurons", model, family, judge, seed, sides)
    gone = choose(scores, share(plan["drop"]))
    narrow(model, family, gone)
    after = {key: value_of(model.config, key) for key in keys}
    told = ", ".join(f"{key} {before[key]} → {after[key]}" for key in keys)
    say(f"width: {told}, scored in {time.monotonic() - began:.1f} s")
    lost = {group: [_part(values, gone[group][n]) for n, values in enumerate(by)] for group, by in scores.items()}
    return {"by": plan["by"], "width": after, "of": before, "lost": lost, "gone": digest(gone)}


def _part(values: Sequence[float], numbers: Sequence[int]) -> float:
    """The fraction of the sum of `values` that `numbers` have, four digits; 0 if the sum is 0."""
    whole = sum(values)
    return float(f"{sum(values[n] for n in numbers) / whole:.4g}") if whole else 0.0
