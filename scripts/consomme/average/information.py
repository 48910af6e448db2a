"""The empirical Fisher information of models on development data, and the mean weighted by it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from consomme.weights.mean import Combination, Spans
from consomme.weights.tensors import FLOATS, Weights

if TYPE_CHECKING:
    import torch

    from consomme.evaluate.judge import Judge


class Fisher(Combination):
    """The mean of models, each element weighted by `information` (float32, the same tensor names)."""

    def __init__(self, models: Sequence[Weights], information: Sequence[Weights]) -> None:
        super().__init__(models)
        self.information, self.divisor = information, 1.0

    def combine(self, tensor: str, spans: Spans) -> Iterator[np.ndarray]:
        for begin, end in spans:
            values = self.exact(tensor, begin, end)
            total = values.mean(axis=0)
            if all(tensor in one.slots for one in self.information):
                weights = np.stack([one.read(tensor, begin, end) for one in self.information]).astype(np.float64)
                among = weights.sum(axis=0)
                np.divide((weights * values).sum(axis=0), among, out=total, where=among > 0)
            yield total


def squares(judge: Judge, model: Path, examples: int, seed: int, out: Path) -> None:
    """Write the mean squared gradient of single rows' log likelihoods to the safetensors file `out`, float32."""
    import torch
    from safetensors.torch import save_file

    from consomme.evaluate.gradients import gradients, shuffled
    from consomme.families import load

    loaded = load(model, judge.device)
    with Weights(model) as weights:
        stored = [tensor for tensor, slot in weights.slots.items() if slot.dtype in FLOATS]
    total: dict[str, torch.Tensor] = {}
    for name, row in islice(shuffled(judge, seed), examples):
        loaded.zero_grad(set_to_none=True)
        with torch.enable_grad():
            nll, _ = judge.evaluator(model).nll(loaded, name, [row])
            nll.sum().backward()
        for tensor, gradient in gradients(loaded).items():
            squared = gradient.float().square() / examples
            total[tensor] = total[tensor] + squared if tensor in total else squared
    save_file({tensor: total[tensor].cpu().contiguous() for tensor in stored if tensor in total}, out)
