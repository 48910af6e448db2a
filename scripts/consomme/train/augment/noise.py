"""Additive noise at a random signal-to-noise ratio: from a folder of recordings, or generated white and pink noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator

from consomme.common.errors import ConsommeError
from consomme.common.settings import Section
from consomme.common.values import Local, Number
from consomme.train.augment.base import Kind
from consomme.train.augment.recordings import BLOCK, load

if TYPE_CHECKING:
    import numpy as np

    from consomme.train.augment.base import Change, Context


Decibels = Annotated[Number, Field(ge=-100, le=100)]


class Noise(Section):
    """Noise added to the waveform."""

    folder: Local | None = Field(None, description="recordings of noise; default: generated white and pink noise")
    snr: tuple[Decibels, Decibels] = Field((5.0, 20.0), description="lowest and highest signal-to-noise ratio, dB")
    probability: Number = Field(0.5, ge=0, le=1, description="probability that an utterance gets noise")

    @field_validator("snr")
    @classmethod
    def _in_order(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError("the lowest ratio comes first")
        return value


def build(settings: Mapping[str, Any], context: Context) -> Change:
    """settings: folder (searched with its subfolders; None: generated noise); snr: [low, high] in dB; probability: 0..1,
    that an utterance gets noise."""
    low, high = settings["snr"]
    if low > high:
        raise ConsommeError(f"augment.noise.snr: {settings['snr']}: write the lower ratio first, e.g. [5, 20]")
    folder = settings.get("folder")
    recordings = load(context.root / folder, "noise", context.rate) if folder else []
    return partial(change, recordings=recordings, low=low, high=high, probability=settings["probability"])


def change(
    wave: np.ndarray,
    generator: np.random.Generator,
    recordings: Sequence[np.ndarray],
    low: float,
    high: float,
    probability: float,
) -> np.ndarray:
    """The waveform [samples] with noise at low..high dB below it, or the same array, with probability 1 - `probability`."""
    if generator.random() >= probability or not len(wave):
        return wave
    noise = excerpt(recordings, len(wave), generator) if recordings else coloured(len(wave), generator)
    return mix(wave, noise, generator.uniform(low, high))


def mix(wave: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """wave + noise, the noise scaled so that mean power of the wave over that of the noise is `snr` dB."""
    import numpy as np

    power = float(np.mean(np.square(noise, dtype=np.float64)))
    if power == 0:  # an excerpt of digital silence
        return wave
    wanted = float(np.mean(np.square(wave, dtype=np.float64))) / 10 ** (snr / 10)
    return (wave + noise * np.sqrt(wanted / power)).astype(np.float32)


def excerpt(recordings: Sequence[np.ndarray], samples: int, generator: np.random.Generator) -> np.ndarray:
    """`samples` of a random recording from a random position on, repeated if it is too short."""
    import numpy as np

    recording = recordings[int(generator.integers(len(recordings)))]
    return np.take(recording, int(generator.integers(len(recording))) + np.arange(samples), mode="wrap")


def coloured(samples: int, generator: np.random.Generator) -> np.ndarray:
    """White or pink noise, equally probable. Pink: power falls as 1/frequency."""
    import numpy as np

    size = -(-samples // BLOCK) * BLOCK
    white = generator.standard_normal(size)
    if generator.random() < 0.5:
        return white[:samples]
    spectrum = np.fft.rfft(white)
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    return np.fft.irfft(spectrum, size)[:samples]


NOISE = Kind("noise", "source", ("asr",), build, Noise, "added noise; true for the defaults")
