"""Speed perturbation (Ko et al. 2015): resampling changes tempo and pitch together."""

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


def _plausible(value: list[float]) -> list[float]:
    if not value or not all(0.5 <= v <= 2 for v in value):
        raise ValueError("speed factors lie between 0.5 and 2")
    return value


def build(settings: Sequence[float], context: Context) -> Change:
    """settings: factors to choose from, equally probable, e.g. [0.9, 1.0, 1.1]; 1.1 is faster and shorter."""
    if not settings or any(not 0.25 <= factor <= 4 for factor in settings):
        raise ConsommeError(f"augment.speed: {settings}: factors between 0.25 and 4 are allowed, e.g. [0.9, 1.0, 1.1]")
    return partial(change, factors=list(settings), rate=context.rate, longest=context.longest)


def change(
    wave: np.ndarray,
    generator: np.random.Generator,
    factors: Sequence[float],
    rate: int,
    longest: int | None = None,
) -> np.ndarray:
    """The waveform [samples] played at a factor drawn from `factors`.

    The same array if the factor is 1, or if the result would be longer than `longest` samples."""
    factor = factors[int(generator.integers(len(factors)))]
    if factor == 1 or (longest and factor < 1 and len(wave) / factor > longest - rate // 100):
        return wave
    import torch
    from torchaudio.functional import resample

    # whole hertz, in steps of 100 so that the resampling filter stays short
    source = round(rate * factor / 100) * 100 if rate % 100 == 0 else round(rate * factor)
    return resample(torch.from_numpy(wave), source, rate).numpy()


SPEED = Kind(
    "speed",
    "source",
    ("asr",),
    build,
    Annotated[list[Number], AfterValidator(_plausible)],
    "factors to choose from, such as [0.9, 1.0, 1.1]",
)
