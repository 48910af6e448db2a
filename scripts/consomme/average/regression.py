"""Regression means: merged linear layers whose outputs are closest to those of each model on its own inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from consomme.weights.mean import Combination, Spans
from consomme.weights.tensors import Weights

if TYPE_CHECKING:
    import torch
    from torch import nn

    from consomme.evaluate.judge import Judge


class RegMean(Combination):
    """The closed form of Jin et al. 2022, arXiv 2212.09849, for every linear layer: (ΣG)⁻¹ ΣG W over the models. G is the
    Gram matrix [inputs, inputs] of a layer's inputs in that model, its off-diagonal elements multiplied by `shrink`. All
    other tensors get the plain mean. grams: G under the names of the layers' weights, float32."""

    def __init__(self, models: Sequence[Weights], grams: Sequence[Weights], shrink: float) -> None:
        super().__init__(models)
        self.grams, self.shrink, self.divisor = grams, shrink, 1.0

    def combine(self, tensor: str, spans: Spans) -> Iterator[np.ndarray]:
        if all(tensor in gram.slots for gram in self.grams):
            merged = self._solved(tensor).ravel()
            for begin, end in spans:
                yield merged[begin:end]
            return
        for begin, end in spans:
            yield np.mean(self.exact(tensor, begin, end), axis=0)

    def _solved(self, tensor: str) -> np.ndarray:
        """The merged weight, float64 [outputs, inputs]."""
        slot = self.models[0].slots[tensor]
        left = right = None
        for values, gram in zip(self.exact(tensor, 0, slot.elements), self.grams, strict=True):
            matrix = gram.whole(tensor).astype(np.float64)
            matrix = self.shrink * matrix + (1 - self.shrink) * np.diag(np.diag(matrix))
            term = matrix @ values.reshape(slot.shape).T
            left, right = (matrix, term) if left is None else (left + matrix, right + term)
        assert left is not None and right is not None  # there is at least one model
        # inputs that are 0 in all models make the system singular, and their least-norm solution is 0: solve for the
        # difference from the plain mean instead
        mean = np.mean(self.exact(tensor, 0, slot.elements), axis=0).reshape(slot.shape).T
        return (mean + np.linalg.lstsq(left, right - left @ mean, rcond=None)[0]).T


def grams(judge: Judge, model: Path, examples: int, seed: int, out: Path) -> None:
    """Write the Gram matrices of the inputs of all linear layers to the safetensors file `out`, means over positions.

    They are measured on `examples` rows of the development sets, one at a time so that there is no padding. Layers tied
    to an embedding are left out: the embedding has other inputs."""
    import torch
    from safetensors.torch import save_file

    from consomme.evaluate.gradients import shuffled
    from consomme.families import load

    loaded = load(model, judge.device)
    names: dict[int, list[str]] = {}
    for name, parameter in loaded.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    total: dict[str, torch.Tensor] = {}
    seen: dict[str, int] = {}

    def watch(name: str) -> object:
        def before(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            rows = inputs[0].detach().flatten(0, -2).double()
            product = rows.T @ rows
            total[name] = total[name] + product if name in total else product
            seen[name] = seen.get(name, 0) + len(rows)

        return before

    handles = [
        module.register_forward_pre_hook(watch(f"{name}.weight"))
        for name, module in loaded.named_modules()
        if isinstance(module, torch.nn.Linear) and len(names[id(module.weight)]) == 1
    ]
    try:
        with torch.no_grad():
            for name, row in islice(shuffled(judge, seed), examples):
                judge.evaluator(model).nll(loaded, name, [row])
    finally:
        for handle in handles:
            handle.remove()
    save_file({name: (gram / seen[name]).float().cpu().contiguous() for name, gram in total.items()}, out)
