"""Stochastic layer drop (Fan, Grave, Joulin 2020, arXiv 1909.11556), constant or growing with depth, ramped over steps.

transformers' own layer drop has one constant rate, and exists only in families with a config key for it. Here the dropped
layers are removed from the model for the forward pass, as pruning removes layers for good. This works for every family,
and a dropped layer costs no time."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from consomme.common.errors import ConsommeError
from consomme.families.surgery import layers, sub

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.families.base import Family

CONSTANT, LINEAR = "constant", "linear"


class LayerDrop:
    """settings: `encoder_layerdrop`, `decoder_layerdrop` (the rate, 0..1), `layerdrop_by_depth` (constant: the same for
    every layer; linear: the l-th of L has l/L of the rate, Huang et al. 2016), `layerdrop_warmup_ratio` (the share of the
    steps over which rates rise from 0). The dropped layers depend on seed, step and batch alone."""

    def __init__(
        self, settings: Mapping[str, Any], model: PreTrainedModel, family: Family, seed: int, total: int
    ) -> None:
        self.model, self.seed = model, seed
        for side in ("encoder", "decoder"):
            if settings.get(f"{side}_layerdrop") and side not in family.stacks:
                rate = settings[f"{side}_layerdrop"]
                raise ConsommeError(f"{side}_layerdrop: {rate}: {family.name} has no {side}; allowed: 0")
        self.sides = [s for s in ("encoder", "decoder") if s in family.stacks and settings.get(f"{s}_layerdrop")]
        self.stacks = [family.stacks[side] for side in self.sides]
        self.rates = [float(settings[f"{side}_layerdrop"]) for side in self.sides]
        self.linear = settings.get("layerdrop_by_depth") == LINEAR
        self.ramp = (settings.get("layerdrop_warmup_ratio") or 0.0) * total

    def probabilities(self, side: int, depth: int, step: int) -> np.ndarray:
        """The probability of each layer [depth] of a side to be dropped at `step` (from 0)."""
        rate = self.rates[side] * (min(1.0, (step + 1) / self.ramp) if self.ramp else 1.0)
        return rate * (np.arange(1, depth + 1) / depth if self.linear else np.ones(depth))

    @contextmanager
    def dropping(self, step: int, batch: int = 0) -> Generator[None]:
        """Within the block, the model lacks the layers dropped for this batch of this step."""
        from torch import nn

        whole = []
        try:
            for side, stack in enumerate(self.stacks):
                there = layers(self.model, stack)
                random = np.random.default_rng([self.seed, step, batch, side]).random(len(there))
                gone = random < self.probabilities(side, len(there), step)
                gone[0] &= not stack.anchored
                place, _, name = stack.layers.rpartition(".")
                whole.append((sub(self.model, place), name, there))
                kept = nn.ModuleList([layer for layer, out in zip(there, gone, strict=True) if not out])
                setattr(sub(self.model, place), name, kept)
            yield
        finally:
            for module, name, there in whole:
                setattr(module, name, there)
