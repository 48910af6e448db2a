"""Pitch shift without a change of tempo."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from consomme.common.errors import ConsommeError
from consomme.common.values import Integer
from consomme.train.augment.base import Kind

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from consomme.train.augment.base import Change, Context

WINDOW = 0.032  # seconds of the phase vocoder's window
# Largest denominator of the resampling ratio: number and length of its filters grow with it, which takes seconds at
# 15102 : 16000. The largest error is 4 hundredths of a semitone.
LARGEST = 24


def _semitones(value: list[int]) -> list[int]:
    if not value or not all(-12 <= v <= 12 for v in value):
        raise ValueError("pitch is shifted by semitones between -12 and 12")
    return value


def build(settings: Sequence[int], context: Context) -> Change:
    """settings: semitones to choose from, equally probable, e.g. [-2, -1, 0, 1, 2]; 12 is an octave up."""
    if not settings or any(not -12 <= steps <= 12 for steps in settings):
        raise ConsommeError(f"augment.pitch: {settings}: semitones between -12 and 12 are allowed, e.g. [-2, 0, 2]")
    return partial(change, semitones=list(settings), rate=context.rate)


def change(wave: np.ndarray, generator: np.random.Generator, semitones: Sequence[int], rate: int) -> np.ndarray:
    """The waveform [samples] shifted by a number of semitones drawn from `semitones`; its length is unchanged."""
    import numpy as np

    steps = semitones[int(generator.integers(len(semitones)))]
    return shift(wave, steps, 2 ** round(np.log2(WINDOW * rate)))


def shift(wave: np.ndarray, steps: int, size: int) -> np.ndarray:
    """`wave` [samples] shifted by `steps` semitones: a phase vocoder with a window of `size` samples (a multiple of 4)
    stretches it, and resampling restores its length. The same array if it is not longer than `size` or `steps` is 0."""
    if steps == 0 or len(wave) <= size:
        return wave
    import torch
    from torchaudio.functional import resample

    higher = ratio(steps)
    window = torch.hann_window(size)
    spectrum = torch.stft(torch.from_numpy(wave), size, size // 4, window=window, return_complex=True).T
    stretched = overlapped(slower(spectrum, float(higher)), window)
    shifted = resample(stretched, higher.numerator, higher.denominator)[: len(wave)]
    return torch.nn.functional.pad(shifted, (0, len(wave) - len(shifted))).numpy()


def slower(spectrum: Tensor, factor: float) -> Tensor:
    """A spectrum [frames, bins], whose windows are four hops long, with `factor` times as many frames.

    The phase vocoder (Flanagan and Golden 1966; Dolson 1986): magnitudes between two frames are interpolated linearly,
    and phases advance at the rate between these two. Equal to torchaudio's in half the time: each phase step is computed
    once, not for each output frame."""
    import torch

    turn = 2 * torch.pi
    magnitude, phase = spectrum.abs(), spectrum.angle()
    # phase of a bin's middle frequency in one hop, without whole turns: sums of small numbers are more exact
    advance = (torch.arange(spectrum.shape[1]) % 4 * (turn / 4)).to(phase.dtype)
    step = phase.diff(dim=0) - advance
    step += advance - turn * torch.round(step / turn)
    at = torch.arange(0, len(spectrum), 1 / factor, dtype=torch.float64).clamp_max(len(spectrum) - 1)
    before = at.long().clamp_max(len(spectrum) - 2)
    phase = torch.cat([phase[:1], step[before[:-1]]]).cumsum(0)
    mixed = torch.lerp(magnitude[before], magnitude[before + 1], (at - before)[:, None].to(magnitude.dtype))
    return torch.polar(mixed, phase)


def overlapped(spectrum: Tensor, window: Tensor) -> Tensor:
    """The waveform [samples] of windowed frames [frames, bins], each four hops long, from the middle of the first frame to
    the middle of the last. As torch.istft, but faster because the hop is fixed."""
    import torch

    frames = torch.fft.irfft(spectrum, len(window)) * window
    blocks, weights = (x.view(*x.shape[:-1], 4, -1) for x in (frames, window**2))
    total = blocks.new_zeros(len(frames) + 3, blocks.shape[-1])
    weight = torch.zeros_like(total)
    for k in range(4):
        total[k : k + len(frames)] += blocks[:, k]
        weight[k : k + len(frames)] += weights[k]
    return (total / weight.clamp_min(1e-8))[2:-2].flatten()


def ratio(steps: int) -> Fraction:
    """The frequency ratio of `steps` semitones, approximately; the ratios of n and -n multiply to 1."""
    up = Fraction(2 ** (abs(steps) / 12)).limit_denominator(LARGEST)
    return up if steps >= 0 else 1 / up


PITCH = Kind(
    "pitch",
    "source",
    ("asr",),
    build,
    Annotated[list[Integer], AfterValidator(_semitones)],
    "semitones to choose from, such as [-2, -1, 0, 1, 2]",
)
