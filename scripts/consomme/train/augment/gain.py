"""Loudness."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from consomme.common.errors import ConsommeError

if TYPE_CHECKING:
    from consomme.train.augment.base import Change, Context


def build(settings: Sequence[float], context: Context) -> Change:
    """`settings`: [low, high] in dB, between which gains are drawn evenly."""
    low, high = settings
    if low > high:
        raise ConsommeError(f"augment.gain: {settings}: write the lower gain first, e.g. [-6, 6]")
    return partial(change, low=low, high=high)


def change(wave: np.ndarray, generator: np.random.Generator, low: float, high: float) -> np.ndarray:
    """The waveform [samples] times 10^(gain/20). It may leave -1..1: features don't mind, and nothing is clipped."""
    return wave * np.float32(10 ** (generator.uniform(low, high) / 20))
