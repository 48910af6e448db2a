"""Intermediate CTC: a CTC loss also at layers below the top, which prepares an encoder for layer pruning.

Lee and Watanabe 2021, arXiv 2102.03216: loss = (1 - w) · top + w · the mean over these layers, with one head (and its
dropout) for all. If layer drop skips one of them, the nearest layer below that was not skipped replaces it."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from consomme.families.base import Family


def spread(count: int, depth: int) -> list[int]:
    """`count` layers, from 1, at even distances below the top one of `depth`: 2 of 18 are 6 and 12."""
    return [round((i + 1) * depth / (count + 1)) for i in range(count)]


class IntermediateCtc:
    """settings: `weight`, and one of `layers` (from 1), `spread` (their number), `random` (their number, drawn at each step
    from the seed and the step, so that a resumed training draws the same)."""

    def __init__(self, settings: Mapping[str, Any], model: PreTrainedModel, family: Family, seed: int) -> None:
        from consomme.families.surgery import layers

        self.model, self.family, self.seed = model, family, seed
        self.weight = float(settings["weight"])
        self.stack = layers(model, family.stacks["encoder"])
        self.draw = settings.get("random")
        fixed = settings.get("layers") or spread(settings.get("spread") or 0, len(self.stack))
        self.fixed: Sequence[int] = sorted(fixed)

    def layers(self, step: int) -> Sequence[int]:
        """The layers of one step, from 1, ascending."""
        if not self.draw:
            return self.fixed
        random = np.random.default_rng([self.seed, step])
        return sorted((random.permutation(len(self.stack) - 1)[: self.draw] + 1).tolist())

    @contextmanager
    def capture(self, step: int) -> Generator[list[Tensor]]:
        """At the end of the block, the list holds the states after the step's layers, in ascending order.

        A skipped layer is replaced by the nearest one below that was not skipped. Without one it has no state; two with
        the same replacement have one state."""
        outputs: dict[int, Tensor] = {}

        def hook(number: int) -> Any:
            def after(module: nn.Module, inputs: Any, output: Any) -> None:
                outputs[number] = output[0] if isinstance(output, tuple) else output

            return after

        wanted, states = self.layers(step), []
        handles = [
            layer.register_forward_hook(hook(n)) for n, layer in enumerate(self.stack, start=1) if n <= wanted[-1]
        ]
        try:
            yield states
            below = [max((n for n in outputs if n <= layer), default=None) for layer in wanted]
            states += [outputs[n] for n in dict.fromkeys(below) if n is not None]
        finally:
            for handle in handles:
                handle.remove()

    def mixed(self, top: Tensor, found: Sequence[Tensor]) -> Tensor:
        """The weighted sum of the loss at the top and the mean of those at the layers below (`found`)."""
        return (1 - self.weight) * top + self.weight * sum(found) / len(found) if found else top
