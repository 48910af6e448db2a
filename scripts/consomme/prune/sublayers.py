"""Sublayers as units of their own: attention, cross-attention, feed-forward, a conformer's convolution.

The units of a side are its sublayers in the order of computation, from 0. A layer that loses all of its sublayers is
removed from the stack. Other sublayers are zeroed: the last projection and its bias become zero, so that the sublayer adds
nothing to the residual stream. The checkpoint keeps its stock shape and loads anywhere, but it is no faster.

A norm after a sublayer's sum (Marian, wav2vec 2.0 without stable layer norm) or at a layer's end (conformers) stays if a
sublayer is zeroed. It is removed with its layer, as is everything else in the layer (wav2vec 2.0's language adapters). A
search evaluates the model exactly as it will be, so its objective includes these effects."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.common.log import say
from consomme.prune.choosers import chooser_named
from consomme.prune.choosers.base import Question
from consomme.prune.layers import from_one, share, to_drop

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.families.base import Family, Stack


def names(stack: Stack, depth: int) -> list[str]:
    """The names of a side's units, layers from 1: 1.self, 1.feed_forward, 2.self, ..."""
    return [f"{layer + 1}.{kind}" for layer in range(depth) for kind in stack.sublayers]


def keep_sublayers(
    model: PreTrainedModel, family: Family, kept: Mapping[str, Collection[int]]
) -> tuple[dict[str, list[int]], dict[str, int]]:
    """Keep only these units of each named side, in place. Returns by side the layers kept, from 0, and the number of their
    sublayers that are zeroed. Zeroed projections get new tensors, so models that share the old ones are not changed."""
    from consomme.families.surgery import keep_layers, layers, sub

    stay: dict[str, list[int]] = {}
    zeroed: dict[str, int] = {}
    for side, units in kept.items():
        stack, units = family.stacks[side], set(units)
        stay[side], zeroed[side] = [], 0
        for number, layer in enumerate(layers(model, stack)):
            first = number * len(stack.sublayers)
            gone = [path for i, path in enumerate(stack.sublayers.values()) if first + i not in units]
            if len(gone) == len(stack.sublayers):
                continue
            stay[side].append(number)
            zeroed[side] += len(gone)
            for path in gone:
                _silence(sub(layer, path))
    keep_layers(model, family, stay)
    return stay, zeroed


def prune_sublayers(
    model: PreTrainedModel, family: Family, plans: Mapping[str, Mapping[str, Any]], judge: Callable[[], Any], seed: int
) -> dict[str, Any]:
    """Remove sublayers from `model` in place, the encoder's before the decoder's. Returns by side: the layers kept and
    dropped, the sublayers dropped, the number of them that were only zeroed, and the steps of a search."""
    from consomme.families.surgery import is_zeroed, last_projections, layers

    found: dict[str, Any] = {}
    for side, plan in sorted(plans.items(), key=lambda item: item[0] != "encoder"):
        stack, chooser = family.stacks[side], chooser_named(plan["by"])
        depth = len(layers(model, stack))
        units = names(stack, depth)
        if not units or chooser.layers_only:
            why = f"'{family.name}' names none" if not units else f"{chooser.name} looks at whole layers"
            raise ConsommeError(f"layers.{side}.of: sublayers can't be chosen: {why}")
        # the others were zeroed by an earlier pruning
        living = [n for n, projection in enumerate(last_projections(model, stack)) if not is_zeroed(projection)]
        search = _Search(model, family, side, judge, living) if chooser.searches else None
        units = [units[n] for n in living]
        if search:  # choosers call their units layers
            say(
                f"{side}: numbers in the steps are those of sublayers: {', '.join(f'{n} {unit}' for n, unit in enumerate(units, 1))}"
            )
        drop = to_drop(share(plan["drop"]), len(units))
        gone, trace = chooser.choose(Question(len(units), drop, seed, search, settings=chooser.settings_of(plan)))
        stay, zeroed = keep_sublayers(model, family, {side: [n for i, n in enumerate(living) if i not in gone]})
        found[side] = {
            "kept": from_one(stay[side]),
            "dropped": [n + 1 for n in range(depth) if n not in stay[side]],
            "sublayers": {"dropped": [units[n] for n in gone], "of": len(units), "zeroed": zeroed[side]},
        }
        if search:
            steps = [
                _named({k: judge().score(v) if k == "objective" else v for k, v in s.items()}, units) for s in trace
            ]
            found[side] |= {"metric": judge().choice.metric, "trace": steps}
            say(f"{side}: {search.count} evaluations in {search.seconds:.1f} s")
        say(f"{side}: {len(gone)} of {len(units)} sublayers removed: {', '.join(units[n] for n in gone)}")
        if zeroed[side]:
            say(
                f"{side}: {zeroed[side]} of them are only zeroed, in the stock shape, and make the model no faster; "
                f"{depth - len(stay[side])} of {depth} layers are removed"
            )
    return found


class _Search:
    """The development objective of the model with only some sublayers of one side, given as indices into `units`."""

    def __init__(
        self, model: PreTrainedModel, family: Family, side: str, judge: Callable[[], Any], units: Sequence[int]
    ) -> None:
        self.family, self.side, self.judge, self.units = family, side, judge, units
        self.model = model.to(judge().device)
        self.count, self.seconds = 0, 0.0

    def __call__(self, kept: Sequence[int]) -> float:
        from consomme.prune.search import shared_copy

        began = time.monotonic()
        smaller = shared_copy(self.model)
        keep_sublayers(smaller, self.family, {self.side: [self.units[n] for n in kept]})
        found = self.judge().objective(smaller)
        self.count, self.seconds = self.count + 1, self.seconds + time.monotonic() - began
        return found


def _silence(linear: Any) -> None:
    """Replace a projection's weight and bias by zeros; the old tensors are not changed."""
    import torch
    from torch import nn

    for name in ("weight", "bias"):
        old = getattr(linear, name)
        if old is not None:
            setattr(linear, name, nn.Parameter(torch.zeros_like(old), old.requires_grad))


def _named(step: Mapping[str, Any], units: Sequence[str]) -> dict[str, Any]:
    """A step of a search with the names of sublayers in place of the numbers that choosers use for their units."""
    found: dict[str, Any] = {}
    for key, value in step.items():
        if key == "layers":
            found["sublayers"] = [units[n - 1] for n in value]
        elif key in ("layer", "back"):
            found[key.replace("layer", "sublayer")] = units[value - 1]
        else:
            found[key] = value
    return found
