"""What pruning has zeroed stays zero: a gradient would wake it, and the model would no longer be the pruned one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from consomme.families.surgery import dead_heads, groups, last_projections, layers, sub

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from consomme.families.base import Family


def keep_silent(model: PreTrainedModel, family: Family) -> int:
    """Train neither the last projection of a sublayer that is zero with its bias, nor the output columns of a head that
    are zero. Returns how many sublayers and heads that concerns."""
    found = 0
    frozen: set[int] = set()
    for stack in family.stacks.values():
        for projection in last_projections(model, stack):
            if not any(p.any() for p in projection.parameters()):
                projection.requires_grad_(False)
                frozen.add(id(projection))
                found += 1
    columns: dict[tuple[str, int], list[int]] = {}
    for group, layer, head in sorted(dead_heads(model, family)):
        columns.setdefault((group, layer), []).append(head)
    for name, stack, attention in groups(family):
        for number, layer in enumerate(layers(model, stack)):
            module, heads = sub(layer, attention.path), columns.get((name, number), [])
            out = sub(module, attention.out)
            if not heads or id(out) in frozen:
                continue
            heard = torch.ones(sub(module, attention.heads), device=out.weight.device)
            heard[heads] = 0
            _mask(out.weight, heard.repeat_interleave(out.weight.shape[1] // len(heard)))
            found += len(heads)
    return found


def _mask(weight: Tensor, columns: Tensor) -> None:
    """Zero the gradient of some columns: no momentum and no decay moves what is zero and has none."""
    if weight.requires_grad:
        weight.register_hook(lambda gradient: gradient * columns.to(gradient))
