"""SpecAugment (Park et al. 2019, arXiv 1904.08779): features warped in time, bands of frames and of mel bins set to the
utterance's mean; the number and width of the masks may grow with its length (Park et al. 2020, arXiv 1912.05533).

Widths and positions are drawn as in torchaudio's masking. torchaudio's own draws from the process-wide generator, and an
utterance's masks must not depend on earlier draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from consomme.common.errors import ConsommeError
from consomme.common.settings import Section
from consomme.common.values import Integer, Number
from consomme.train.augment.base import Kind

if TYPE_CHECKING:
    import numpy as np

    from consomme.train.augment.base import Change, Context

FRAMES = 100  # mel frames per second, the unit of widths
FREQUENCY_MASKS = 2  # default for models that read mel bins


# Park et al. 2019, table 1: W, F, m_F, T, p, m_T
_POLICY = ("time_warp", "frequency_width", "frequency_masks", "time_frames", "time_width", "time_masks")
POLICIES: dict[str, dict[str, Any]] = {
    "LB": dict(zip(_POLICY, (80, 27, 1, 100, 1.0, 1), strict=True)),
    "LD": dict(zip(_POLICY, (80, 27, 2, 100, 1.0, 2), strict=True)),
    "SM": dict(zip(_POLICY, (40, 15, 2, 70, 0.2, 2), strict=True)),
    "SS": dict(zip(_POLICY, (40, 27, 2, 70, 0.2, 2), strict=True)),
}


class SpecAugment(Section):
    """A time warp and masks on the log-mel frames (Park et al. 2019, arXiv 1904.08779), or time masks on a waveform."""

    # not part of the digest: the policy's values are
    policy: Literal["LB", "LD", "SM", "SS"] | None = Field(
        None, exclude=True, description="of the paper: LibriSpeech basic, double, Switchboard mild, strong"
    )
    time_masks: Integer = Field(
        2, ge=0, le=1000, description="number of masks over time; with time_masks_per_frame the largest number"
    )
    time_masks_per_frame: Number | None = Field(
        None, gt=0, le=100, description="number of masks per frame, up to time_masks (arXiv 1912.05533)"
    )
    time_width: Number = Field(0.05, ge=0, le=1, description="widest mask, as a share of the frames")
    time_frames: Integer | None = Field(None, ge=0, le=10**6, description="widest mask, in frames of 10 ms")
    frequency_masks: Integer | None = Field(
        None, ge=0, le=1000, description="number of masks over mel bins; default 2, for models that read mel bins"
    )
    frequency_width: Integer = Field(15, ge=0, le=1000, description="widest mask, in mel bins")
    time_warp: Integer | None = Field(None, ge=0, le=10**6, description="largest shift of the warped point, in frames")

    @model_validator(mode="before")
    @classmethod
    def _of_policy(cls, value: Any) -> Any:
        value = {"policy": value} if isinstance(value, str) else value
        policy = value.get("policy") if isinstance(value, dict) else None
        return {**POLICIES[policy], **value} if isinstance(policy, str) and policy in POLICIES else value


def build(settings: Mapping[str, Any], context: Context) -> Change:
    """settings: time_masks (their number), time_width (of the widest, a fraction 0..1 of the frames), frequency_width (of
    the widest, in mel bins). Optional: frequency_masks, time_frames (width of the widest, in frames of 10 ms),
    time_masks_per_frame (time_masks is then the largest number), time_warp (largest shift, in frames).

    Waveforms take time masks only; ConsommeError for other settings."""
    if not 0 <= settings["time_width"] <= 1:
        raise ConsommeError(
            f"augment.spec_augment.time_width: {settings['time_width']} given; allowed: 0..1, a fraction of the frames"
        )
    times = {name: settings[name] for name in TIMES if settings.get(name) is not None}
    if context.waveform:
        for name in ("frequency_masks", "time_warp"):
            if settings.get(name):
                raise ConsommeError(
                    f"augment.spec_augment.{name}: this model reads waveforms, which have no mel bins and can't be "
                    f"warped; allowed: {', '.join(TIMES)}"
                )
        return partial(mask_waveform, rate=context.rate, **times)
    masks = settings.get("frequency_masks")
    return partial(
        change,
        stride=context.stride,
        frequency_masks=FREQUENCY_MASKS if masks is None else masks,
        frequency_width=settings["frequency_width"],
        time_warp=settings.get("time_warp") or 0,
        **times,
    )


TIMES = ("time_masks", "time_width", "time_frames", "time_masks_per_frame")


def change(
    features: np.ndarray,
    generator: np.random.Generator,
    stride: int,
    frequency_masks: int,
    frequency_width: float,
    time_warp: int,
    **times: Any,
) -> np.ndarray:
    """A warped and masked copy of `features` [frames, stride * bins], each frame `stride` mel vectors."""
    frames, width = features.shape
    mels = features.reshape(frames * stride, width // stride).copy()
    if time_warp:
        mels = warp(mels, time_warp, generator)
    mean = mels.mean() if mels.size else 0.0
    for stretch in stretches(len(mels), len(mels), generator, **times):
        mels[stretch] = mean
    for _ in range(frequency_masks):
        mels[:, band(mels.shape[1], frequency_width, generator)] = mean
    return mels.reshape(frames, width)


def mask_waveform(wave: np.ndarray, generator: np.random.Generator, rate: int, **times: Any) -> np.ndarray:
    """A copy of `wave` [samples] in which stretches are set to its mean."""
    masked = wave.copy()
    for stretch in stretches(len(wave), len(wave) * FRAMES / rate, generator, **times):
        masked[stretch] = wave.mean()
    return masked


def stretches(
    size: int,
    frames: float,
    generator: np.random.Generator,
    time_masks: int,
    time_width: float,
    time_frames: float | None = None,
    time_masks_per_frame: float | None = None,
) -> list[slice]:
    """The time masks on `size` places, which last `frames` frames of 10 ms."""
    number = time_masks if time_masks_per_frame is None else min(time_masks, int(time_masks_per_frame * frames))
    widest = time_width * size
    if time_frames is not None and frames:
        widest = min(widest, time_frames * size / frames)
    return [band(size, widest, generator) for _ in range(number)]


def band(size: int, widest: float, generator: np.random.Generator) -> slice:
    """A stretch of 0..widest places out of `size`: first its width, then its position drawn uniformly."""
    width = generator.random() * min(widest, size)
    start = int(generator.random() * (size - width))
    return slice(start, start + int(width))


def warp(mels: np.ndarray, furthest: int, generator: np.random.Generator) -> np.ndarray:
    """`mels` [frames, bins] with a random frame moved by up to `furthest` frames. The same array if it is too short: no
    frame is then that far from both ends."""
    if len(mels) <= 2 * furthest + 1:
        return mels
    point = generator.uniform(furthest, len(mels) - 1 - furthest)
    return warped(mels, point, point + generator.uniform(-furthest, furthest))


def warped(mels: np.ndarray, point: float, goal: float) -> np.ndarray:
    """`mels` [frames, bins] warped linearly in time so that frame `point` moves to `goal`. First and last frame don't move;
    `point` and `goal` lie strictly between them."""
    import numpy as np

    last = len(mels) - 1
    source = np.interp(np.arange(len(mels)), [0, goal, last], [0, point, last])
    before = np.minimum(source.astype(np.int64), last - 1)
    share = (source - before)[:, None].astype(mels.dtype)
    return mels[before] * (1 - share) + mels[before + 1] * share


SPEC_AUGMENT = Kind(
    "spec_augment",
    "features",
    ("asr",),
    build,
    SpecAugment,
    "masks on the features; true for the defaults, or a policy's name",
)
