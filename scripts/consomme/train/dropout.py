"""Dropout on a processor, at a third of the price.

torch asks a Mersenne twister for a number of its own for each element, which is a third of a training step of a small
recogniser; sixteen of its bits say as well whether an element stays."""

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
    """While it is open, models on a processor drop out with `dropout` and `attention` instead of torch's own.

    Both draw from torch's generator, so that a training that is resumed draws what the other would have drawn."""
    patched: Any = functional
    patched.dropout, patched.scaled_dot_product_attention = dropout, attention
    try:
        yield
    finally:
        patched.dropout, patched.scaled_dot_product_attention = STOCK, STOCK_ATTENTION


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """As `torch.nn.functional.dropout`, with p rounded to a multiple of 2^-16; what stays is divided by the share that
    stays, so that the mean is kept."""
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
    """As `torch.nn.functional.scaled_dot_product_attention`, which takes the plain way too where there is dropout. A
    query that may look nowhere looks everywhere alike here, and gives zeros there."""
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
