"""Folders of recordings that augmentations draw from: noises, room responses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from consomme.common.errors import ConsommeError

if TYPE_CHECKING:
    import numpy as np

BLOCK = 4096  # lengths of Fourier transforms are multiples of it: large primes take ten times as long
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")


def files(folder: Path, key: str) -> list[Path]:
    """The recordings in `folder` and below, sorted by path; ConsommeError, which names `key`, if there are none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise ConsommeError(f"augment.{key}.folder: {folder}: no recording there (of {', '.join(SUFFIXES)})")
    return found


def load(folder: Path, key: str, rate: int) -> list[np.ndarray]:
    """All of them as float32 [samples] at `rate` Hz, channels averaged; ConsommeError for one that can't be read."""
    from consomme.data.audio import BadAudio, decode, resample

    found = []
    for path in files(folder, key):
        try:
            wave, own = decode(path)
            found.append(resample(wave, own, rate))
        except BadAudio as error:
            raise ConsommeError(f"augment.{key}.folder: {path}: {error}: remove it from the folder") from None
    return found
