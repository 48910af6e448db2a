"""The recordings that are named, one by one or by folders, and their channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from consomme.common.errors import ConsommeError, Unusable

if TYPE_CHECKING:
    import numpy as np

AUDIO = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64"}
CHANNELS = ("mean", "first", "each")


@dataclass(frozen=True)
class Recording:
    """A recording. name: of its transcript, without an ending; relative, as it lies in the folder that was named."""

    path: Path
    name: Path


def recordings(paths: Sequence[Path]) -> tuple[list[Recording], int]:
    """The recordings in the order given, those of a folder by name, and how many files of folders are none. ConsommeError if
    two would have transcripts of one name."""
    found, others = [], 0
    for path in paths:
        if not path.is_dir():
            found.append(Recording(path, Path(path.name)))
            continue
        files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        heard = [p for p in files if p.suffix.lower() in AUDIO]
        others += len(files) - len(heard)
        found += [Recording(p, p.relative_to(path)) for p in heard]
    names: dict[Path, Path] = {}
    for one in found:
        first = names.setdefault(one.name, one.path)
        if first != one.path:
            raise ConsommeError(
                f"{first} and {one.path} would both have the transcript {one.name}; transcribe their folders by themselves"
            )
    return found, others


def waves(path: Path, rate: int, channels: str) -> list[np.ndarray]:
    """The waveforms of a recording, float32 [samples] at `rate` Hz, read as for corpora: one, or one for each channel.
    Unusable if it can't be read."""
    from consomme.data.audio import BadAudio, decode, decode_channels, resample

    try:
        if channels == "mean":
            samples, own = decode(path)
            return [resample(samples, own, rate)]
        several, own = decode_channels(path)
        return [resample(one, own, rate) for one in (several if channels == "each" else several[:1])]
    except BadAudio as error:
        raise Unusable(str(error)) from error
