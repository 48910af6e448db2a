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
CLIPPED = 0.001  # the share of a float file's samples beyond 1 above which it was scaled otherwise
UNKNOWN = 2**62  # samples: what libsndfile says where a header doesn't tell


class BadAudio(Exception):
    """Audio that can't be used. `reason` is one of missing, unreadable, truncated, empty, too long, beyond full scale."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def decode(source: Path | bytes, max_seconds: float | None = None) -> tuple[np.ndarray, int]:
    """Read a file, or an encoded file's bytes (wav, flac, ogg, opus, mp3), as mono float32 [samples] in -1..1 and its
    own sampling rate in Hz.

    A file that claims more than `max_seconds` is refused by its header, and never is more than that decoded. So is one
    that holds less than it claims, and floats that would be clipped. Raises BadAudio."""
    import numpy as np
    import soundfile

    from consomme.data.cut_short import lacking, readable
    from consomme.data.mp3 import with_length

    if isinstance(source, Path) and not source.is_file():
        raise BadAudio("missing", f"no file {source}")
    if (source.stat().st_size if isinstance(source, Path) else len(source)) == 0:
        raise BadAudio("empty", "a file of no bytes")
    try:
        with soundfile.SoundFile(opened(source)) as stream:
            rate, floats = stream.samplerate, stream.subtype in ("FLOAT", "DOUBLE")
            if stream.format in ("MP3", "MPEG"):
                data = source if isinstance(source, bytes) else source.read_bytes()
                if whole := with_length(data, rate, stream.frames):
                    return decode(whole, max_seconds)
            if stream.frames > UNKNOWN:
                raise BadAudio("unreadable", "its header doesn't say how long it is; convert it to a file that does")
            if max_seconds is not None and stream.frames > max_seconds * rate:
                raise BadAudio("too long", f"{stream.frames / rate:.1f} s")
            cap = -1 if max_seconds is None else int(max_seconds * rate) + 1
            samples = stream.read(frames=cap, dtype="float32", always_2d=True)
            missing = lacking(stream, source, len(samples))
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        if seconds := readable(opened(source)):
            raise BadAudio("truncated", f"only its first {seconds:.2f} s can be read ({error})") from None
        raise BadAudio("unreadable", str(error)) from None
    if max_seconds is not None and len(samples) > max_seconds * rate:
        raise BadAudio("too long", f"more than {max_seconds:g} s")
    if not len(samples):
        raise BadAudio("empty", "no samples")
    if missing:
        raise BadAudio("truncated", missing)
    if not np.isfinite(samples).all():
        raise BadAudio("unreadable", "samples that are not numbers")
    if floats:
        samples = _full_scale(samples)
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if _silent(mono):
        raise BadAudio(
            "empty", "nothing but digital silence" if _silent(samples) else "its channels cancel each other out"
        )
    return mono, rate


def opened(source: Path | bytes) -> str | io.BytesIO:
    """What soundfile takes for a file, or for the bytes of one."""
    return io.BytesIO(source) if isinstance(source, bytes) else str(source)


def _silent(samples: np.ndarray) -> bool:
    """Whether all of them are zeros in 16 bits."""
    import numpy as np

    return bool(np.abs(samples).max() * PEAK <= 0.5)


def _full_scale(samples: np.ndarray) -> np.ndarray:
    """The samples of a float file in -1..1, but for a few that will be clipped. Whole numbers are 16-bit samples that were
    stored as they are, and are divided by 32768; what scale others have that go beyond 1 can't be known."""
    import numpy as np

    sizes = np.abs(samples)
    peak = sizes.max()
    if peak <= 1:
        return samples
    if peak <= PEAK and (samples == np.rint(samples)).all():
        return samples / np.float32(PEAK)
    beyond = (sizes > 1).mean()
    if beyond > CLIPPED:
        raise BadAudio("beyond full scale", f"{beyond:.1%} of its samples are beyond 1, up to {peak:.6g}")
    return samples


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
