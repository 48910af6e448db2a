"""Gradients of the development loss, for methods that learn from data."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from consomme.evaluate.judge import Judge

Places = list[tuple[str, int]]  # development set, row


def shuffled(judge: Judge, seed: int) -> Iterator[tuple[str, int]]:
    """An endless stream of usable rows of the choice's development sets. A set is drawn with probability proportional to its
    weight; its rows are shuffled again after each pass through it. The same for the same seed."""
    weights = judge.choice.weights
    names = [name for name in weights if weights[name]]
    share = np.array([weights[name] for name in names])
    random = np.random.default_rng([seed, zlib.crc32("/".join(names).encode())])
    waiting: dict[str, list[int]] = {name: [] for name in names}
    while True:
        name = names[random.choice(len(names), p=share / share.sum())]
        if not waiting[name]:
            usable = judge.evaluator().inputs(name).usable()
            waiting[name] = [usable[i] for i in random.permutation(len(usable))]
        yield name, waiting[name].pop()


def loss(judge: Judge, model: PreTrainedModel, places: Places) -> Tensor:
    """The mean over rows of the loss per label: a scalar in nats, with gradients."""
    import torch

    losses = []
    for name in dict.fromkeys(name for name, _ in places):
        which = [row for other, row in places if other == name]
        nll, tokens = judge.evaluator().nll(model, name, which)
        losses.append(nll / tokens.clamp(min=1))
    return torch.cat(losses).mean()


def gradients(model: PreTrainedModel) -> dict[str, Tensor]:
    """The gradients of the last backward pass, by tensor name (tied weights under each of their names)."""
    return {
        name: parameter.grad
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if parameter.grad is not None
    }
