"""A model that computes in half precision for a while: its weights are cast, and are themselves again afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel

EXACT = "inv_freq"  # rotary positions: frequencies in half precision put far positions in the wrong place


@contextmanager
def at_precision(model: PreTrainedModel, precision: str | None) -> Generator[None]:
    """Within the block, the floating-point weights and buffers of the model have the precision. None: as they are."""
    if precision is None:
        yield
        return
    import torch

    dtype = getattr(torch, precision)
    named = itertools.chain(model.named_parameters(), model.named_buffers())
    own = [(t, t.data) for name, t in named if t.is_floating_point() and not name.endswith(EXACT) and t.dtype != dtype]
    for tensor, data in own:
        tensor.data = data.to(dtype)
    try:
        yield
    finally:
        for tensor, data in own:
            tensor.data = data
