"""Reverberation: the waveform convolved with a room's impulse response, recorded or generated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from consomme.common.errors import ConsommeError
from consomme.common.settings import Section
from consomme.common.values import Local, Number
from consomme.train.augment.base import Kind
from consomme.train.augment.recordings import BLOCK, load

if TYPE_CHECKING:
    import numpy as np

    from consomme.train.augment.base import Change, Context

DIRECT = (0.0, 12.0)  # dB between the direct sound and the reverberation, in generated rooms
GAP = 0.002  # seconds before the first reflection


class Reverb(Section):
    """Reverberation: convolution with rooms' impulse responses."""

    folder: Local | None = Field(None, description="recorded impulse responses; default: generated ones")
    rt60: tuple[Number, Number] = Field(
        (0.1, 0.6), description="of generated rooms: shortest and longest time to fall by 60 dB, seconds"
    )
    probability: Number = Field(0.5, ge=0, le=1, description="probability that an utterance gets reverberation")

    @field_validator("rt60")
    @classmethod
    def _in_order(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1] <= 60:
            raise ValueError("both are above 0 and 60 at most, and the shortest comes first")
        return value


def build(settings: Mapping[str, Any], context: Context) -> Change:
    """settings: folder of impulse responses (searched with its subfolders; None: generated); rt60: [low, high], seconds in
    which a generated room falls by 60 dB; probability: 0..1, that an utterance gets reverberation."""
    low, high = settings["rt60"]
    if not 0 < low <= high:
        raise ConsommeError(f"augment.reverb.rt60: {settings['rt60']}: write the shorter time first, e.g. [0.1, 0.6]")
    folder = settings.get("folder")
    responses = load(context.root / folder, "reverb", context.rate) if folder else []
    return partial(
        change, responses=responses, rate=context.rate, low=low, high=high, probability=settings["probability"]
    )


def change(
    wave: np.ndarray,
    generator: np.random.Generator,
    responses: Sequence[np.ndarray],
    rate: int,
    low: float,
    high: float,
    probability: float,
) -> np.ndarray:
    """The waveform [samples] in a random room, with the same length and power; the same array with probability
    1 - `probability`."""
    if generator.random() >= probability or not len(wave):
        return wave
    if responses:
        response = responses[int(generator.integers(len(responses)))]
    else:
        response = room(generator.uniform(low, high), generator.uniform(*DIRECT), rate, generator)
    return within(wave, response)


def within(wave: np.ndarray, response: np.ndarray) -> np.ndarray:
    """`wave` [samples] convolved with `response` [samples], without delay (the loudest sample of the response is the direct
    sound), and scaled to the same power."""
    import numpy as np

    size = -(-(len(wave) + len(response) - 1) // BLOCK) * BLOCK
    heard = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(response, size), size)
    start = int(np.abs(response).argmax())
    heard = heard[start : start + len(wave)]
    power, wanted = (float(np.mean(np.square(x, dtype=np.float64))) for x in (heard, wave))
    return (heard * np.sqrt(wanted / power)).astype(np.float32) if power > 0 else wave


def room(rt60: float, direct: float, rate: int, generator: np.random.Generator) -> np.ndarray:
    """An impulse response [samples]: the direct sound, then white noise that falls by 60 dB in `rt60` seconds, with
    `direct` dB less energy than the direct sound."""
    import numpy as np

    times = np.arange(int(rt60 * rate) + 1) / rate
    response = generator.standard_normal(len(times)) * 10 ** (-3 * times / rt60)
    response[times < GAP] = 0
    energy = float(np.sum(response**2))
    response *= 10 ** (-direct / 20) / np.sqrt(energy) if energy else 0.0
    response[0] = 1
    return response


REVERB = Kind("reverb", "source", ("asr",), build, Reverb, "rooms; true for the defaults")
