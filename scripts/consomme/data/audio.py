"""Audio files and bytes as mono waveforms at one rate."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch

PEAK = 32768  # int16 full scale: 16-bit files survive the way through float32 bit by bit


class BadAudio(Exception):
    """Audio that can't be used. `reason` is one of missing, unreadable, empty, too long."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def decode(source: Path | bytes, max_seconds: float | None = None) -> tuple[np.ndarray, int]:
    """Read a file, or an encoded file's bytes (wav, flac, ogg, opus, mp3), as mono float32 [samples] in -1..1 and its
    own sampling rate in Hz.

    A file that claims more than `max_seconds` is refused by its header, and never is more than that decoded.
    Raises BadAudio."""
    import numpy as np
    import soundfile

    if isinstance(source, Path) and not source.is_file():
        raise BadAudio("missing", f"no file {source}")
    if (source.stat().st_size if isinstance(source, Path) else len(source)) == 0:
        raise BadAudio("empty", "a file of no bytes")
    try:
        with soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else str(source)) as stream:
            rate = stream.samplerate
            if max_seconds is not None and stream.frames > max_seconds * rate:
                raise BadAudio("too long", f"{stream.frames / rate:.1f} s")
            cap = -1 if max_seconds is None else int(max_seconds * rate) + 1
            samples = stream.read(frames=cap, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise BadAudio("unreadable", str(error)) from None
    if max_seconds is not None and len(samples) > max_seconds * rate:
        raise BadAudio("too long", f"more than {max_seconds:g} s")
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if not len(mono):
        raise BadAudio("empty", "no samples")
    if not np.isfinite(mono).all():
        raise BadAudio("unreadable", "samples that are not numbers")
    if not mono.any():
        raise BadAudio("empty", "nothing but digital silence")
    return mono, rate


def resample(samples: np.ndarray, rate: int, goal: int) -> np.ndarray:
    """A float32 waveform [samples] at `rate` Hz as one at `goal` Hz (windowed sinc, torchaudio)."""
    if rate == goal:
        return samples
    import torch

    with torch.inference_mode():
        return _resampler(rate, goal)(torch.from_numpy(samples)).numpy()


@functools.cache
def _resampler(rate: int, goal: int) -> Callable[[torch.Tensor], torch.Tensor]:
    # kept, since making the filter costs more than using it
    from torchaudio.transforms import Resample

    return Resample(rate, goal)


def read(source: Path | bytes, sampling_rate: int, max_seconds: float | None = None) -> np.ndarray:
    """`decode` and `resample` in one: mono float32 [samples] at `sampling_rate` Hz. Raises BadAudio."""
    samples, rate = decode(source, max_seconds)
    return resample(samples, rate, sampling_rate)


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Float samples in -1..1 as int16, clipped."""
    import numpy as np

    return np.clip(np.rint(samples * PEAK), -PEAK, PEAK - 1).astype(np.int16)
