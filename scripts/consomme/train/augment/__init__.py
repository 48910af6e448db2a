"""Augmentation on the fly: of the waveform before its features are computed, and of the features.

What happens to an utterance depends on (seed, turn, corpus, id) and nothing else: not on workers, order or batch.
A new augmentation is a module with `build(settings, context)` and a line in `TABLE`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from consomme.train.augment import gain, noise, pitch, spec_augment, speed

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Context:
    """What an augmentation may need to know.

    rate: samples a second; stride: mel vectors joined in one frame; root: where relative paths start; longest: samples
    that the model has a window for, None if any number goes."""

    rate: int
    stride: int
    root: Path
    longest: int | None = None


# name in the settings -> what it changes, how it is built; applied in this order
TABLE: dict[str, tuple[str, Callable[[Any, Context], Change]]] = {
    "speed": ("waveform", speed.build),
    "pitch": ("waveform", pitch.build),
    "gain": ("waveform", gain.build),
    "noise": ("waveform", noise.build),
    "spec_augment": ("features", spec_augment.build),
}


class Augmenter:
    """The augmentations that the settings ask for; `augment` maps a name of `TABLE` to its settings or None."""

    def __init__(self, augment: Mapping[str, Any], context: Context, seed: int) -> None:
        wanted = [(kind, build(augment[name], context)) for name, (kind, build) in TABLE.items() if augment.get(name)]
        self.waveform = [change for kind, change in wanted if kind == "waveform"]
        self.features = [change for kind, change in wanted if kind == "features"]
        self.seed = seed

    def generator(self, turn: int, corpus: str, identity: str) -> np.random.Generator:
        """The random numbers of one utterance in one turn."""
        text = f"{self.seed}\0{turn}\0{corpus}\0{identity}"
        return np.random.default_rng(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()))
