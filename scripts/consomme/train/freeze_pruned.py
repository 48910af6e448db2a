"""Freeze zeroed sublayers: otherwise gradients would change them, and the model would no longer be pruned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consomme.families.surgery import is_zeroed, last_projections

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.families.base import Family


def freeze_zeroed_sublayers(model: PreTrainedModel, family: Family) -> int:
    """Freeze the output projection of every sublayer that pruning zeroed (weight and bias). Returns their number.

    Heads need no freezing: their values and their output columns are both zero, so the gradients of both are zero."""
    found = 0
    for stack in family.stacks.values():
        for projection in last_projections(model, stack):
            if is_zeroed(projection):
                projection.requires_grad_(False)
                found += 1
    return found
