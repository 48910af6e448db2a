"""Hybrid CTC: a CTC loss on the encoder of an encoder-decoder, beside the decoder's (Watanabe et al. 2017).

loss = (1 - w) · cross-entropy + w · CTC. The CTC head is trained and resumed with the model, and removed before the
model is saved: the result is a plain checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from consomme.families.base import value_of
from consomme.families.surgery import sub

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from consomme.families.base import Family

WIDTHS = ("encoder_config.hidden_size", "d_model", "hidden_size")  # the config's keys for that of the encoder's states
HEAD = "hybrid_head"  # not a name of transformers: the head is removed before saving


def attach(model: PreTrainedModel, seed: int) -> None:
    """Give the model a linear head from the encoder's states to its vocabulary, its random weights from `seed`."""
    config = model.config
    width = next(w for key in WIDTHS if (w := value_of(config, key)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(width, config.vocab_size)
        nn.init.normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)
    setattr(model, HEAD, head.to(model.device))


def detach(model: PreTrainedModel) -> None:
    """Remove the head."""
    if hasattr(model, HEAD):
        delattr(model, HEAD)


def top(model: PreTrainedModel, states: Tensor) -> Tensor:
    """Logits [batch, time, vocabulary] of the encoder's last states [batch, time, width]."""
    return getattr(model, HEAD)(states)


def below(model: PreTrainedModel, family: Family, states: Tensor) -> Tensor:
    """Logits of a lower layer's states, through the encoder's last norm if it has one."""
    encoder = sub(model, family.stacks["encoder"].layers.rpartition(".")[0])
    norm: Any = getattr(encoder, "layer_norm", None)
    return top(model, norm(states) if norm is not None else states)
