"""Audio files and bytes as mono waveforms at one rate."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

PEAK = 32768  # int16 full scale: 16-bit files survive the way through float32 bit by bit
CLIPPED = 0.001  # the share of a float file's samples beyond 1 above which it was scaled otherwise
UNKNOWN = 2**62  # samples: what libsndfile says where a header doesn't tell
RATES = (1000, 768_000)  # Hz: no recorder writes others, and headers that say so are damaged
KERNEL = 2**23  # numbers: the most for a filter that resamples, a third of a gigabyte while it is made
TOLERANCE = 0.01  # seconds that a segment may reach beyond the end of its file: times are rounded


class BadAudio(Exception):
    """Audio that can't be used. `reason` is one of missing, unreadable, truncated, empty, too long, sampling rate, beyond full
    scale, beyond the end."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def decode(
    source: Path | bytes, max_seconds: float | None = None, start: float | None = None, end: float | None = None
) -> tuple[np.ndarray, int]:
    """Read a file, or an encoded file's bytes (wav, flac, ogg, opus, mp3), as mono float32 [samples] in -1..1 and its
    own sampling rate in Hz. With `start` or `end`, in seconds, only what lies between them is decoded.

    What claims more than `max_seconds` is refused by its header, and never is more than that decoded. So is what holds less
    than it claims, and floats that would be clipped. Raises BadAudio."""
    import soundfile

    from consomme.data.cut_short import lacking, readable

    whole = start is None and end is None
    if isinstance(source, Path) and not is_file(source):
        raise BadAudio("missing", f"no file {source}")
    if isinstance(source, Path) and source.suffix.lower() == ".raw":
        raise BadAudio("unreadable", "a .raw file doesn't say its rate or format; convert it to .wav")
    if (source.stat().st_size if isinstance(source, Path) else len(source)) == 0:
        raise BadAudio("empty", "a file of no bytes")
    try:
        with soundfile.SoundFile(opened(source)) as stream:
            rate, floats = stream.samplerate, stream.subtype in ("FLOAT", "DOUBLE")
            _check_rate(rate)
            if stream.format in ("MP3", "MPEG") and (told := _with_length(source, rate, stream.frames)):
                return decode(told, max_seconds, start, end)
            if stream.frames > UNKNOWN:
                raise BadAudio("unreadable", "its header doesn't say how long it is; convert it to a file that does")
            first, last = span(stream.frames, rate, start, end)
            if max_seconds is not None and last - first > max_seconds * rate:
                raise BadAudio("too long", f"{(last - first) / rate:.1f} s")
            if not whole:
                stream.seek(first)
            frames = last - first if not whole else -1 if max_seconds is None else int(max_seconds * rate) + 1
            samples = stream.read(frames=frames, dtype="float32", always_2d=True)
            missing = lacking(stream, source, len(samples)) if whole else _lacking(len(samples), frames, rate)
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        if seconds := readable(opened(source)):
            raise BadAudio("truncated", f"only its first {seconds:.2f} s can be read ({error})") from None
        raise BadAudio("unreadable", str(error)) from None
    if max_seconds is not None and len(samples) > max_seconds * rate:
        raise BadAudio("too long", f"more than {max_seconds:g} s")
    if missing and len(samples):
        raise BadAudio("truncated", missing)
    return usable(samples, floats), rate


def decode_channels(source: Path) -> tuple[list[np.ndarray], int]:
    """As `decode` of a whole file, each channel by itself; silent ones are left out. Raises BadAudio."""
    import soundfile

    _, rate = decode(source)  # all that is to be said against it
    samples, _ = soundfile.read(opened(source), dtype="float32", always_2d=True)
    heard = [channel for channel in _full_scale(samples).T.copy() if not _silent(channel)]
    return heard, rate


def _with_length(source: Path | bytes, rate: int, guessed: int) -> bytes | None:
    """An mp3 file with a header of its length, as bytes; None where it needs none. A file is kept for its next segment."""
    from consomme.data.mp3 import with_length

    if isinstance(source, bytes):
        return with_length(source, rate, guessed)
    return _file_with_length(source, source.stat().st_mtime_ns, rate, guessed)


@functools.lru_cache(maxsize=1)
def _file_with_length(path: Path, _changed: int, rate: int, guessed: int) -> bytes | None:
    from consomme.data.mp3 import with_length

    return with_length(path.read_bytes(), rate, guessed)


def usable(samples: np.ndarray, floats: bool) -> np.ndarray:
    """The mean of channels, [samples, channels] -> [samples], if it is some, is numbers, has the usual scale, and is not
    silent. Raises BadAudio."""
    import numpy as np

    if not len(samples):
        raise BadAudio("empty", "no samples")
    if not np.isfinite(samples).all():
        raise BadAudio("unreadable", "samples that are not numbers")
    if floats:
        samples = _full_scale(samples)
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if _silent(mono):
        raise BadAudio(
            "empty", "nothing but digital silence" if _silent(samples) else "its channels cancel each other out"
        )
    return mono


def span(frames: int, rate: int, start: float | None, end: float | None) -> tuple[int, int]:
    """The first frame of a segment and the one after its last. Raises BadAudio where it isn't in the file."""
    first = round((start or 0.0) * rate)
    last = frames if end is None else round(end * rate)
    if last > frames + TOLERANCE * rate or (first >= frames and start):
        asked = f"{start or 0:g} s to {'the end' if end is None else f'{end:g} s'}"
        raise BadAudio("beyond the end", f"{asked} of a recording of {frames / rate:.3f} s")
    return first, min(last, frames)


def _lacking(read: int, wanted: int, rate: int) -> str | None:
    """What a segment lacks, for a sentence; None where nothing is missing."""
    return f"{read / rate:.2f} of {wanted / rate:.2f} s are there" if wanted - read > TOLERANCE * rate else None


def is_file(path: Path) -> bool:
    """Whether there is such a file; False for what can't be a file's name."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for a name, or no name at all
        return False


@dataclass
class Samples:
    """A waveform that is there as numbers: [samples], [samples, channels] or [channels, samples]; decimal numbers in -1..1,
    or whole ones, of which 32768 is full scale."""

    array: Any
    rate: int

    def waveform(self) -> tuple[np.ndarray, int]:
        """Mono float32 [samples] in -1..1, and the rate in Hz. Raises BadAudio."""
        import numpy as np

        try:
            array = np.asarray(self.array)
        except ValueError as error:  # rows of different lengths
            raise BadAudio("unreadable", f"an array that is no waveform ({error})") from None
        if array.dtype.kind not in "iuf" or array.ndim not in (1, 2):
            raise BadAudio("unreadable", f"an array of {array.ndim} dimensions and of {array.dtype}, and no waveform")
        if not array.size:
            raise BadAudio("empty", "no samples")
        whole = array.dtype.kind in "iu"
        if whole and (peak := int(np.abs(array.astype(np.float64)).max())) > PEAK:
            raise BadAudio("beyond full scale", f"whole numbers up to {peak}, and {PEAK} is full scale")
        samples = array.astype(np.float32) / np.float32(PEAK if whole else 1)
        channels = samples[:, None] if samples.ndim < 2 else samples if np.argmin(samples.shape) else samples.T
        return usable(channels, floats=not whole), self.rate


@dataclass(frozen=True)
class Recording:
    """A recording within a file on this disk or in a store: `size` bytes from `offset` on, or all of it for a size of -1.
    content: the bytes, where they have been read already."""

    file: Path
    offset: int
    size: int
    content: bytes | None = field(default=None, repr=False)

    def read(self) -> bytes:
        """The encoded recording. Raises BadAudio where the file ends before it does."""
        if self.content is not None:
            return self.content
        try:
            with open(self.file, "rb") as stream:
                stream.seek(self.offset)
                found = stream.read(self.size)
        except FileNotFoundError:
            raise BadAudio("missing", f"no file {self.file}") from None
        if len(found) < self.size:
            raise BadAudio("truncated", f"{self.file} ends within it")
        return found


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
    """A float32 waveform [samples] at `rate` Hz as one at `goal` Hz (windowed sinc, torchaudio). Raises BadAudio for rates
    that need too large a filter: it grows with both of them divided by their greatest common divisor."""
    if rate == goal:
        return samples
    _check_rate(rate)
    shared = math.gcd(rate, goal)
    if rate // shared * (goal // shared) > KERNEL:
        raise BadAudio("sampling rate", f"{rate} Hz, which can't be resampled to {goal} Hz in reasonable memory")
    import torch

    with torch.inference_mode():
        return _resampler(rate, goal)(torch.from_numpy(samples)).numpy()


def _check_rate(rate: int) -> None:
    if not RATES[0] <= rate <= RATES[1]:
        raise BadAudio("sampling rate", f"{rate} Hz; {RATES[0]} to {RATES[1]} are possible")


@functools.lru_cache(maxsize=8)
def _resampler(rate: int, goal: int) -> Callable[[torch.Tensor], torch.Tensor]:
    # kept, since making the filter costs more than using it
    from torchaudio.transforms import Resample

    return Resample(rate, goal)


def read(
    source: Path | bytes | Recording,
    sampling_rate: int,
    max_seconds: float | None = None,
    start: float | None = None,
    end: float | None = None,
) -> np.ndarray:
    """`decode` and `resample` in one: mono float32 [samples] at `sampling_rate` Hz. Raises BadAudio."""
    encoded = source.read() if isinstance(source, Recording) else source
    samples, rate = decode(encoded, max_seconds, start, end)
    return resample(samples, rate, sampling_rate)


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Float samples in -1..1 as int16, clipped."""
    import numpy as np

    return np.clip(np.rint(samples * PEAK), -PEAK, PEAK - 1).astype(np.int16)
