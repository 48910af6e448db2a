"""Parts of a model that are made of like units side by side: attention modules of heads, feed-forward parts of neurons.

Groups of parts are named SIDE.NAME: `encoder.self`, `decoder.cross`, `encoder.feed_forward`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.families.base import Family, FeedForward, set_value
from consomme.families.surgery import groups, layers, own_config, sub, take

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

HEADS, NEURONS = "heads", "neurons"


@dataclass(frozen=True)
class Part:
    """count: how many units; up: the projections that they come out of; down: the one that they go into, whose input
    [..., count * size] has them one after another."""

    count: int
    up: Sequence[nn.Linear]
    down: nn.Linear

    def weights(self) -> list[Tensor]:
        """The weights of each unit, [count, numbers], one tensor for each projection: rows of `up`, columns of `down`."""
        found = []
        for linear in self.up:
            halves = max(1, linear.out_features // self.down.in_features)
            found.append(linear.weight.unflatten(0, (halves, self.count, -1)).movedim(1, 0).flatten(1))
        return [*found, self.down.weight.T.unflatten(0, (self.count, -1)).flatten(1)]


def parts(model: PreTrainedModel, family: Family, of: str, sides: Collection[str] = ()) -> dict[str, list[Part]]:
    """Group -> its parts from the first layer to the last, of units `heads` or `neurons`; of some sides alone where they are
    named. Neurons outside of the layers that share their width have groups of their own."""
    found = _attentions(model, family) if of == HEADS else _feed_forwards(model, family)
    return {group: by for group, by in found.items() if not sides or group.partition(".")[0] in sides}


def narrow(model: PreTrainedModel, family: Family, gone: Mapping[str, Sequence[Sequence[int]]]) -> PreTrainedModel:
    """Cut neurons out, in place, and return the model: a plain checkpoint once saved, its config saying the new width.

    `gone[group][n]` are the neurons (from 0) that the group's n-th part loses. ConsommeError unless all parts of one width
    lose equally many and keep one at least."""
    import torch

    own_config(model)
    for key, groups_of in widths(family).items():
        there = {group: by for group, by in _feed_forwards(model, family).items() if group in groups_of}
        if not any(group in gone for group in there):
            continue
        left = {
            part.count - len(set(lost))
            for group, by in there.items()
            for part, lost in zip(by, gone.get(group, [()] * len(by)), strict=True)
        }
        if len(left) > 1 or min(left) < 1:
            raise ConsommeError(
                f"width: {sorted(left)} neurons would stay in the feed-forward parts of {', '.join(there)}, and the config "
                f"has one number for all of them, {key}, of 1 or more"
            )
        for group, by in there.items():
            for part, lost in zip(by, gone[group], strict=True):
                stay = torch.tensor([n for n in range(part.count) if n not in set(lost)])
                for linear in part.up:
                    halves = range(linear.out_features // part.count)
                    take(linear, torch.cat([half * part.count + stay for half in halves]), dim=0)
                take(part.down, stay, dim=1)
        set_value(model.config, key, left.pop())
    return model


def widths(family: Family) -> dict[str, list[str]]:
    """The config's keys of the feed-forward widths -> the groups that have each."""
    found: dict[str, list[str]] = {}
    for side, stack in family.stacks.items():
        if stack.width:
            names = [*stack.feed_forwards, *stack.outside]
            found.setdefault(stack.width, []).extend(f"{side}.{name}" for name in names)
    return found


def _attentions(model: PreTrainedModel, family: Family) -> dict[str, list[Part]]:
    found: dict[str, list[Part]] = {}
    for group, stack, attention in groups(family):
        for layer in layers(model, stack):
            module = sub(layer, attention.path)
            up = [sub(module, name) for name in (attention.query, attention.key, attention.value)]
            part = Part(sub(module, attention.heads), up, sub(module, attention.out))
            found.setdefault(group, []).append(part)
    return found


def _feed_forwards(model: PreTrainedModel, family: Family) -> dict[str, list[Part]]:
    found: dict[str, list[Part]] = {}
    for side, stack in family.stacks.items():
        for name, where in stack.feed_forwards.items():
            modules = [sub(layer, where.path) if where.path else layer for layer in layers(model, stack)]
            found[f"{side}.{name}"] = [_neurons(module, where) for module in modules]
        for name, where in stack.outside.items():
            modules = [m for path, m in model.named_modules() if fnmatchcase(path, where.path)]
            if modules:
                found[f"{side}.{name}"] = [_neurons(module, where) for module in modules]
    return found


def _neurons(module: Any, where: FeedForward) -> Part:
    down = sub(module, where.down)
    return Part(down.in_features, [sub(module, name) for name in where.up if hasattr(module, name)], down)
