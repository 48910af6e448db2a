"""Dropped layers that are merged into those that stay.

A kept layer's group is the layer itself and the dropped layers directly after it, up to the next kept one. Dropped layers
before the first kept one belong to that one. θ stands for all weights of a layer, norms and biases included. What not every
layer of a group has, such as the table of relative positions in the first layer of T5, stays as the family's surgery leaves
it. Running statistics of batch norms are no weights: the merged layer has their mean, until training estimates them anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from consomme.common.errors import ConsommeError, nearest

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from consomme.families.base import Family

Way = Literal["mean", "laco"]
RUNNING = ("running_mean", "running_var")


def mean(kept: np.ndarray, dropped: Sequence[np.ndarray]) -> np.ndarray:
    """The mean over the group of m dropped layers and the kept one: (θ_kept + Σ θ_dropped) / (1 + m)."""
    return (kept + sum(dropped)) / (1 + len(dropped))


def laco(kept: np.ndarray, dropped: Sequence[np.ndarray]) -> np.ndarray:
    """Layer collapse: θ_kept + Σ (θ_dropped - θ_kept), "reserving differences while seeking common" (Yang et al. 2024, arXiv
    2402.11187, where the kept layer is the lowest of its group).

    Of a group of two this is the dropped layer itself. This is the paper's equation. The authors' published code subtracts
    the sum as it grows instead of θ_kept, which leaves the projections of the group's last layer."""
    return kept + sum(other - kept for other in dropped)


WAYS: Mapping[str, Callable[[np.ndarray, Sequence[np.ndarray]], np.ndarray]] = {"mean": mean, "laco": laco}


def groups(kept: Sequence[int], depth: int) -> list[tuple[int, ...]]:
    """The group of each kept layer, which stands first in it; layers from 0, `kept` ascending."""
    starts, ends = [0, *kept[1:]], [*kept[1:], depth]
    return [
        (layer, *(n for n in range(start, end) if n != layer))
        for layer, start, end in zip(kept, starts, ends, strict=True)
    ]


@dataclass(frozen=True)
class Merging:
    """What becomes of dropped layers. ways: side -> how they are merged into those that stay; they are lost on other sides.
    dtype: safetensors' name of the one that the model will be stored in."""

    ways: Mapping[str, str] = field(default_factory=dict)
    dtype: str = "F32"

    def __post_init__(self) -> None:
        for side, way in self.ways.items():
            if way not in WAYS:
                raise ConsommeError(
                    f"layers.{side}.merge: {way!r} given{nearest(way, WAYS)}; allowed: {', '.join(WAYS)}"
                )

    def keep_layers(self, model: PreTrainedModel, family: Family, kept: Mapping[str, Sequence[int]]) -> PreTrainedModel:
        """`surgery.keep_layers` after the merge, in place. Merged weights are new tensors, so models that share the old ones
        are not changed. ConsommeError if layers of a group differ in shape, in zeroed sublayers or in zeroed heads."""
        from consomme.families import surgery

        for side in [side for side in kept if side in self.ways]:
            layers = surgery.layers(model, family.stacks[side])
            found = groups(kept[side], len(layers))
            _check(model, family, side, found)
            for group in found:
                _merge([layers[n] for n in group], self.ways[side], self.dtype)
        return surgery.keep_layers(model, family, kept)

    def known_by(self, side: str, kept: Sequence[int], depth: int) -> Sequence[Any]:
        """What each of these layers of a side is known by among the candidates of a search: its number, or its group."""
        return groups(kept, depth) if side in self.ways else kept


def _merge(group: Sequence[nn.Module], way: str, dtype: str) -> None:
    """Replace the weights of the first layer by those of the group. Sums are float64, rounded once to `dtype`."""
    from torch import nn

    kept, *dropped = group
    if not dropped:
        return
    for name, tensors in _alike(group):
        new = _combined(name, tensors, mean if name.endswith(RUNNING) else WAYS[way], dtype)
        path, _, last = name.rpartition(".")
        weight = isinstance(tensors[0], nn.Parameter)
        setattr(kept.get_submodule(path), last, nn.Parameter(new, tensors[0].requires_grad) if weight else new)


def _alike(group: Sequence[nn.Module]) -> Iterator[tuple[str, list[Tensor]]]:
    """Name -> the tensor of each layer, of weights and running statistics that all layers have."""
    found = [
        dict(layer.named_parameters()) | {n: b for n, b in layer.named_buffers() if n.endswith(RUNNING)}
        for layer in group
    ]
    for name in found[0]:
        if all(name in other for other in found):
            yield name, [other[name] for other in found]


def _combined(name: str, tensors: Sequence[Tensor], combine: Callable[..., np.ndarray], dtype: str) -> Tensor:
    import numpy as np
    import torch

    from consomme.weights.compatibility import too_large
    from consomme.weights.tensors import LARGEST, from_float64, to_float32

    old = tensors[0]
    kept, *dropped = (tensor.detach().cpu().double().numpy().ravel() for tensor in tensors)
    total = combine(kept, dropped)
    if np.isfinite(total).all() and np.abs(total).max(initial=0) >= LARGEST[dtype]:
        raise too_large(name, dtype)
    values = to_float32(from_float64(total, dtype), dtype)
    return torch.from_numpy(values).reshape(old.shape).to(old.device, old.dtype)


def _check(model: PreTrainedModel, family: Family, side: str, found: Sequence[Sequence[int]]) -> None:
    """ConsommeError unless the layers of each group have the same shapes, zeroed sublayers and zeroed heads."""
    from consomme.families.surgery import layers

    stack, still = layers(model, family.stacks[side]), _zeroed(model, family, side)
    for group in found:
        for name, tensors in _alike([stack[n] for n in group]):
            for number, tensor in zip(group, tensors, strict=True):
                if tensor.shape != tensors[0].shape:
                    raise ConsommeError(
                        f"layers.{side}.merge: layers {group[0] + 1} and {number + 1} have different shapes, "
                        f"{[*tensors[0].shape]} and {[*tensor.shape]} in {name}: an earlier pruning took heads out of them. "
                        "Merge layers first and prune heads then, or leave out merge"
                    )
        for number in group:
            if differ := sorted(still[number] ^ still[group[0]]):
                raise ConsommeError(
                    f"layers.{side}.merge: layers {group[0] + 1} and {number + 1} differ in what an earlier pruning set to "
                    f"zero ({', '.join(differ[:3])}), and a merge would bring it back in part. Merge layers first and prune "
                    "sublayers or heads then, or leave out merge"
                )


def _zeroed(model: PreTrainedModel, family: Family, side: str) -> list[set[str]]:
    """The sublayers and heads of each layer of a side that are zero, by name."""
    from consomme.families.surgery import dead_heads, is_zeroed, layers, sub

    stack = family.stacks[side]
    found = [
        {kind for kind, path in stack.sublayers.items() if is_zeroed(sub(layer, path))}
        for layer in layers(model, stack)
    ]
    for group, layer, head in dead_heads(model, family):
        if group.startswith(f"{side}."):
            found[layer].add(f"head {head + 1} of {group}")
    return found
