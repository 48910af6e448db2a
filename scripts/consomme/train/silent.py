"""What pruning has zeroed stays zero: a gradient would wake it, and the model would no longer be the pruned one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consomme.families.surgery import is_silent, last_projections

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.families.base import Family


def keep_silent(model: PreTrainedModel, family: Family) -> int:
    """Freeze the last projection of each sublayer of which it is zero with its bias, and return how many these are.

    Heads need no such care: their values and their output columns are zero both, and so are the gradients of either."""
    found = 0
    for stack in family.stacks.values():
        for projection in last_projections(model, stack):
            if is_silent(projection):
                projection.requires_grad_(False)
                found += 1
    return found
