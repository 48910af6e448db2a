"""MP3 files without a header of their length.

libsndfile guesses the length of such a file from the size of its first frame, and reads no further: of a file whose bit rate
varies that may be a third. With the header, it reads all."""

from __future__ import annotations

from collections.abc import Iterator

LENGTH_TAGS = (b"Xing", b"Info", b"VBRI")
FIRST = 8192  # bytes in which the first frame is, and some junk before it
# kbit/s by the index in a frame's header, layer III: of MPEG 1, and of MPEG 2 and 2.5 (ISO 11172-3, 13818-3)
KBITS = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)


def start_of(data: bytes) -> int:
    """Where the first frame begins: behind an ID3 tag, whose length stands in four bytes of seven bits."""
    return 10 + sum(byte << 7 * k for k, byte in enumerate(reversed(data[6:10]))) if data[:3] == b"ID3" else 0


def says_its_length(first: bytes) -> bool:
    """Whether the first FIRST bytes from `start_of` hold a header of the length."""
    return any(tag in first for tag in LENGTH_TAGS)


def with_length(data: bytes, rate: int, guessed: int) -> bytes | None:
    """A file of `rate` Hz with a header of its length: a frame of its own before the others, with their number in it.

    None where it has a header, or where no more than the `guessed` samples a channel are in the frames that follow each
    other from its start."""
    start = start_of(data)
    if says_its_length(data[start : start + FIRST]):
        return None
    low = rate < 32000  # MPEG 2: frames of 576 samples, and not 1152
    sizes = list(_frames(data, start, rate, low))
    if len(sizes) * (576 if low else 1152) <= guessed:
        return None
    mono = data[start + 3] >> 6 == 3
    blank = bytes((9 if mono else 17) if low else (17 if mono else 32))
    tag = b"Info" + (1).to_bytes(4, "big") + len(sizes).to_bytes(4, "big")
    frame = (data[start : start + 4] + blank + tag).ljust(sizes[0], b"\0")
    return data[:start] + frame + data[start:]


def _frames(data: bytes, at: int, rate: int, low: bool) -> Iterator[int]:
    """Size in bytes of each frame from `at`, up to the first that isn't one, or isn't whole."""
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] & 0xE6 == 0xE2:  # in step, layer III
        index = data[at + 2] >> 4
        if not 0 < index < 15:
            return
        size = (72 if low else 144) * KBITS[low][index] * 1000 // rate + (data[at + 2] >> 1 & 1)
        if at + size > len(data):
            return
        yield size
        at += size
