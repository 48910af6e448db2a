"""SpecAugment (Park et al. 2019) without time warping: bands of frames and of mel bins set to the utterance's mean.

Widths and places are drawn as torchaudio's masking does, which can't be used itself: it draws from the process-wide
generator, and what an utterance gets must not depend on what was drawn before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from consomme.common.errors import ConsommeError

if TYPE_CHECKING:
    from consomme.train.augment import Change, Context


def build(settings: Mapping[str, Any], context: Context) -> Change:
    """`settings`: time_masks, time_width (largest, as a share 0..1 of the frames), frequency_masks, frequency_width
    (largest, in mel bins)."""
    if not 0 <= settings["time_width"] <= 1:
        raise ConsommeError(
            f"augment.spec_augment.time_width: {settings['time_width']} is no share of the frames: 0..1"
        )
    return partial(change, stride=context.stride, **settings)


def change(
    features: np.ndarray,
    generator: np.random.Generator,
    stride: int,
    time_masks: int,
    time_width: float,
    frequency_masks: int,
    frequency_width: float,
) -> np.ndarray:
    """A masked copy of `features` [frames, stride * bins], where a frame joins `stride` mel vectors."""
    if features.ndim != 2:
        raise ConsommeError("augment.spec_augment: this model reads waveforms, there are no mel bins to mask")
    frames, width = features.shape
    mels = features.reshape(frames * stride, width // stride).copy()
    mean = mels.mean() if mels.size else 0.0
    for _ in range(time_masks):
        mels[band(len(mels), time_width * len(mels), generator)] = mean
    for _ in range(frequency_masks):
        mels[:, band(mels.shape[1], frequency_width, generator)] = mean
    return mels.reshape(frames, width)


def band(size: int, widest: float, generator: np.random.Generator) -> slice:
    """A stretch of 0..widest places out of `size`, its width and then its place drawn evenly."""
    width = generator.random() * min(widest, size)
    start = int(generator.random() * (size - width))
    return slice(start, start + int(width))
