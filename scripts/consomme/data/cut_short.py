"""Audio files that end before their header says: what was left of a download or a copy that broke off."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from consomme.data import mp3

if TYPE_CHECKING:
    from soundfile import SoundFile

SLACK = 0.15  # seconds: the headers of mp3 files may be off by a frame or two, and a frame is 72 ms at most
# libsndfile corrects a header's count of bytes, and says so in its log, for wav, w64, rf64, aiff and au
CORRECTED = re.compile(r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
STREAMED = 0x7F000000  # bytes: who writes to a pipe can't know how many, and claims as many as fit
OGG_PAGE = 27 + 255 + 255 * 255  # bytes of the longest page
STEP = 1024  # samples


def lacking(stream: SoundFile, source: Path | bytes, read: int) -> str | None:
    """What a file lacks of which `read` samples a channel could be read, for a sentence; None where nothing is known
    to be missing.

    A wav, flac or mp3 file says how long it is. An ogg or opus file doesn't, but its last page has to be whole. What
    can't be told: an ogg file that was cut between two pages, and an mp3 file without a header of its length."""
    rate = stream.samplerate
    if stream.format == "OGG":
        missing = _missing_of_page(source)
        return f"its last page lacks {missing} bytes; {read / rate:.2f} s are there" if missing > 0 else None
    promised = _promised(stream, source, read)
    return f"{read / rate:.2f} of {promised / rate:.2f} s are there" if promised - read > SLACK * rate else None


def readable(file: str | BytesIO) -> float:
    """Seconds from the start of a file that its decoder reads before it gives up; 0 where it reads nothing."""
    import soundfile

    read, rate = 0, 1
    try:
        with soundfile.SoundFile(file) as stream:
            rate = stream.samplerate
            while count := len(stream.read(STEP)):
                read += count
    except (soundfile.LibsndfileError, RuntimeError, OSError):
        pass  # which is why it is asked
    return read / rate


def _promised(stream: SoundFile, source: Path | bytes, read: int) -> float:
    """Samples a channel that the header speaks of."""
    if stream.format == "FLAC":
        return stream.frames
    if stream.format in ("MP3", "MPEG"):
        start = mp3.start_of(_part(source, 0, 10))
        return stream.frames if mp3.says_its_length(_part(source, start, mp3.FIRST)) else read
    found = CORRECTED.search(stream.extra_info)
    if not found or int(found[1]) >= STREAMED or not int(found[2]):
        return read
    return read * int(found[1]) / int(found[2])


def _missing_of_page(source: Path | bytes) -> int:
    """Bytes that the last page of an ogg file lacks."""
    end = _part(source, -OGG_PAGE, OGG_PAGE)
    start = end.rfind(b"OggS")
    page = end[start:]
    segments = page[26] if len(page) > 26 else 0
    return 27 + segments + sum(page[27 : 27 + segments]) - len(page) if start >= 0 else 0


def _part(source: Path | bytes, start: int, size: int) -> bytes:
    """Bytes of a file from `start`, which counts from the end where it is negative."""
    if isinstance(source, bytes):
        start = max(start + len(source), 0) if start < 0 else start
        return source[start : start + size]
    with open(source, "rb") as stream:
        stream.seek(max(start + source.stat().st_size, 0) if start < 0 else start)
        return stream.read(size)
