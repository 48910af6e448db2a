"""Pitch without tempo: another voice that says the same at the same pace."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from consomme.common.errors import ConsommeError

if TYPE_CHECKING:
    from consomme.train.augment import Change, Context

WINDOW = 0.032  # seconds of the phase vocoder's window


def build(settings: Sequence[int], context: Context) -> Change:
    """`settings`: the semitones to choose from with equal chance, e.g. [-2, -1, 0, 1, 2]; 12 is an octave up."""
    if not settings or any(not -12 <= steps <= 12 for steps in settings):
        raise ConsommeError(f"augment.pitch: {settings}: semitones between -12 and 12 are allowed, e.g. [-2, 0, 2]")
    return partial(change, semitones=list(settings), rate=context.rate)


def change(wave: np.ndarray, generator: np.random.Generator, semitones: Sequence[int], rate: int) -> np.ndarray:
    """The waveform [samples] shifted by a number of semitones drawn from `semitones`; as long as before.

    A phase vocoder stretches it and resampling brings back its length (torchaudio's pitch_shift)."""
    steps = semitones[int(generator.integers(len(semitones)))]
    size = 2 ** round(np.log2(WINDOW * rate))
    if steps == 0 or len(wave) <= size:
        return wave
    import torch
    from torchaudio.functional import pitch_shift

    return pitch_shift(torch.from_numpy(wave), rate, steps, n_fft=size).numpy()
