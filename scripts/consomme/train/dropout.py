"""Dropout on a processor in a third of torch's time.

torch draws a number from a Mersenne twister for each element, a third of a training step of a small recogniser. Sixteen
random bits are enough to decide whether an element is dropped."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

BITS = 16
STOCK, STOCK_ATTENTION = functional.dropout, functional.scaled_dot_product_attention


@contextmanager
def quick() -> Generator[None]:
    """Within the block, models on a processor use `dropout` and `attention` instead of torch's own.

    Both draw from torch's generator, so that a resumed training draws the same numbers as an uninterrupted one."""
    patched: Any = functional
    patched.dropout, patched.scaled_dot_product_attention = dropout, attention
    try:
        yield
    finally:
        patched.dropout, patched.scaled_dot_product_attention = STOCK, STOCK_ATTENTION


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """As `torch.nn.functional.dropout`, with p rounded to a multiple of 2^-16. Kept elements are divided by 1 - p, so that
    the mean is unchanged."""
    dropped = round(p * 2**BITS)
    if not training or inplace or input.device.type != "cpu" or not 0 < dropped < 2**BITS:
        return STOCK(input, p, training, inplace)
    per_draw = 64 // BITS
    drawn = torch.empty(-(-input.numel() // per_draw), dtype=torch.int64).random_(-(2**63), None)
    bits = drawn.view(torch.int16)[: input.numel()].view(input.shape)
    stays = torch.ge(bits, dropped - 2 ** (BITS - 1), out=torch.empty(input.shape, dtype=input.dtype))
    return input * stays.mul_(2**BITS / (2**BITS - dropped))


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **more: Any,
) -> Tensor:
    """As `torch.nn.functional.scaled_dot_product_attention`, computed step by step, as torch's is with dropout. One
    difference: a query with all keys masked attends to all of them equally; torch returns zeros."""
    if not dropout_p or query.device.type != "cpu" or more.get("enable_gqa"):
        return STOCK_ATTENTION(query, key, value, attn_mask, dropout_p, is_causal, **more)
    scale = more.get("scale") or query.shape[-1] ** -0.5
    scores = (query * scale) @ key.transpose(-2, -1)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if attn_mask is not None:
        lowest = torch.finfo(scores.dtype).min
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros(attn_mask.shape, dtype=scores.dtype).masked_fill_(~attn_mask, lowest)
        scores = scores + attn_mask.clamp_min(lowest)
    return dropout(scores.softmax(-1), dropout_p) @ value
