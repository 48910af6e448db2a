"""Pitch without tempo: another voice that says the same at the same pace."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from consomme.common.errors import ConsommeError

if TYPE_CHECKING:
    from consomme.train.augment import Change, Context

WINDOW = 0.032  # seconds of the phase vocoder's window
# Of the resampling's ratio: its filters are as many and as long, which costs seconds at 15102 : 16000. No semitone is
# off by more than 4 hundredths.
LARGEST = 24


def build(settings: Sequence[int], context: Context) -> Change:
    """`settings`: the semitones to choose from with equal chance, e.g. [-2, -1, 0, 1, 2]; 12 is an octave up."""
    if not settings or any(not -12 <= steps <= 12 for steps in settings):
        raise ConsommeError(f"augment.pitch: {settings}: semitones between -12 and 12 are allowed, e.g. [-2, 0, 2]")
    return partial(change, semitones=list(settings), rate=context.rate)


def change(wave: np.ndarray, generator: np.random.Generator, semitones: Sequence[int], rate: int) -> np.ndarray:
    """The waveform [samples] shifted by a number of semitones drawn from `semitones`; as long as before."""
    steps = semitones[int(generator.integers(len(semitones)))]
    return shift(wave, steps, 2 ** round(np.log2(WINDOW * rate)))


def shift(wave: np.ndarray, steps: int, size: int) -> np.ndarray:
    """`wave` [samples] moved by `steps` semitones: a phase vocoder with a window of `size` samples stretches it, and
    resampling brings back its length. The same array where it is shorter than that, or not moved."""
    if steps == 0 or len(wave) <= size:
        return wave
    import torch
    from torchaudio.functional import phase_vocoder, resample

    faster = ratio(steps)
    hop, window = size // 4, torch.hann_window(size)
    spectrum = torch.stft(torch.from_numpy(wave), size, hop, window=window, return_complex=True)
    advance = torch.linspace(0, torch.pi * hop, size // 2 + 1)[:, None]  # radians a hop, by frequency
    spectrum = phase_vocoder(spectrum, float(1 / faster), advance)
    stretched = torch.istft(spectrum, size, hop, window=window, length=round(len(wave) * faster))
    return resample(stretched, faster.numerator, faster.denominator).numpy()[: len(wave)]


def ratio(steps: int) -> Fraction:
    """How much higher `steps` semitones are, nearly: as many up and down undo each other."""
    up = Fraction(2 ** (abs(steps) / 12)).limit_denominator(LARGEST)
    return up if steps >= 0 else 1 / up
