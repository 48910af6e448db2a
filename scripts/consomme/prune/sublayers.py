"""Sublayers as units of their own: attention, cross-attention, feed-forward, a conformer's convolution.

The units of a side are its sublayers in the order of computation, from 0. A layer all of whose sublayers go leaves the stack.
What else goes is zeroed, its last projection with its bias, so that it adds nothing to the states that run past it: the
checkpoint keeps its stock shape, loads anywhere, and is no faster for it.

A norm that stands behind a sublayer's sum (Marian, wav2vec 2.0 without stable layer norm) or at a layer's end (conformers)
stays where a sublayer is zeroed, and goes with a layer that leaves, as does what a layer has beside its sublayers (wav2vec
2.0's language adapters). A search asks for the model as it will be, so it sees that."""

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
    """The units of a side as people read them, layers from 1: 1.self, 1.feed_forward, 2.self, ..."""
    return [f"{layer + 1}.{kind}" for layer in range(depth) for kind in stack.sublayers]


def keep_sublayers(
    model: PreTrainedModel, family: Family, kept: Mapping[str, Collection[int]]
) -> tuple[dict[str, list[int]], dict[str, int]]:
    """Keep these units of each named side, in place. Returns by side the layers that stay, from 0, and how many of their
    sublayers are zeroed. Projections to be zeroed are replaced, so a model that shares the tensors keeps its own."""
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
    """Take sublayers out of `model` in place, the encoder's before the decoder's; by side: the layers kept and dropped, the
    sublayers dropped and how many of them were only zeroed, the steps of a search."""
    from consomme.families.surgery import is_zeroed, last_projections, layers

    found: dict[str, Any] = {}
    for side, plan in sorted(plans.items(), key=lambda item: item[0] != "encoder"):
        stack, chooser = family.stacks[side], chooser_named(plan["by"])
        depth = len(layers(model, stack))
        units = names(stack, depth)
        if not units or chooser.layers_only:
            why = f"'{family.name}' names none" if not units else f"{chooser.name} looks at whole layers"
            raise ConsommeError(f"layers.{side}.of: sublayers can't be chosen: {why}")
        # others went before
        living = [n for n, projection in enumerate(last_projections(model, stack)) if not is_zeroed(projection)]
        search = _Search(model, family, side, judge, living) if chooser.searches else None
        units = [units[n] for n in living]
        if search:  # choosers call what they count layers
            say(
                f"{side}: a number in the steps is that of a sublayer: {', '.join(f'{n} {unit}' for n, unit in enumerate(units, 1))}"
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
        say(f"{side}: {len(gone)} of {len(units)} sublayers go: {', '.join(units[n] for n in gone)}")
        if zeroed[side]:
            say(
                f"{side}: {zeroed[side]} of them are only zeroed, in the stock shape, and make the model no faster; "
                f"{depth - len(stay[side])} of {depth} layers leave"
            )
    return found


class _Search:
    """The development objective of the model with only some sublayers of one side, asked by their place in `units`."""

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
    """Zeros in place of a projection's weight and bias; the tensors that it had stay as they are."""
    import torch
    from torch import nn

    for name in ("weight", "bias"):
        old = getattr(linear, name)
        if old is not None:
            setattr(linear, name, nn.Parameter(torch.zeros_like(old), old.requires_grad))


def _named(step: Mapping[str, Any], units: Sequence[str]) -> dict[str, Any]:
    """A step of a search, in which choosers count units as layers, with the sublayers' names."""
    found: dict[str, Any] = {}
    for key, value in step.items():
        if key == "layers":
            found["sublayers"] = [units[n - 1] for n in value]
        elif key in ("layer", "back"):
            found[key.replace("layer", "sublayer")] = units[value - 1]
        else:
            found[key] = value
    return found
