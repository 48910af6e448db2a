"""Loudness."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from consomme.common.errors import ConsommeError
from consomme.common.values import Number
from consomme.train.augment.base import Kind

if TYPE_CHECKING:
    import numpy as np

    from consomme.train.augment.base import Change, Context


def _range(value: list[float]) -> list[float]:
    if len(value) != 2 or value[0] > value[1]:
        raise ValueError("gain is [low, high] in dB, such as [-6, 6]")
    return value


def build(settings: Sequence[float], context: Context) -> Change:
    """settings: [low, high] in dB; gains are drawn uniformly between them."""
    low, high = settings
    if low > high:
        raise ConsommeError(f"augment.gain: {settings}: write the lower gain first, e.g. [-6, 6]")
    return partial(change, low=low, high=high)


def change(wave: np.ndarray, generator: np.random.Generator, low: float, high: float) -> np.ndarray:
    """The waveform [samples] times 10^(gain/20). Nothing is clipped: values may leave -1..1."""
    import numpy as np

    return wave * np.float32(10 ** (generator.uniform(low, high) / 20))


GAIN = Kind(
    "gain", "source", ("asr",), build, Annotated[list[Number], AfterValidator(_range)], "loudness: [low, high] in dB"
)
