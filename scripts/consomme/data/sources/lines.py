"""The lines of a text file, whatever ends them, and the encodings that are not UTF-8."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path

from consomme.common.errors import ConsommeError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MARKS = {  # byte order marks of other encodings; the longer first, because they begin like the shorter
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
DAMAGED = (gzip.BadGzipFile, EOFError, zlib.error)  # what reading a damaged gzip file raises
LOOKED_AT = 4096  # bytes
LONGEST = 2**27  # bytes of a line: a record of .jsonl may hold a waveform as numbers
UNPACKED = 2**25  # bytes up to which a gzip file may be packed however tightly
TIMES = 200  # how much larger a longer one may be unpacked: text is 20 times larger at most, a gzip bomb 1000 times


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, unpacked where its name ends in .gz, without their ends and without a byte order mark.

    Only a line feed ends a line, whatever else Unicode calls a line separator. In a file that has none, a carriage
    return does. Raises ConsommeError for a gzip file that isn't whole, and for what is no text: a line of more than LONGEST
    bytes, or a gzip file of little more than repetitions. No more than a line is in memory."""
    with opened(path) as stream:
        try:
            for number, line in enumerate(_bounded(stream, path)):
                if number == 0:
                    line = line.removeprefix(BYTE_ORDER_MARK)
                    if not line.endswith(b"\n"):
                        # the whole file
                        yield from line.removesuffix(b"\r").split(b"\r")
                        return
                yield line.rstrip(b"\r\n")
        except DAMAGED as error:
            raise ConsommeError(f"{path}: not a whole gzip file ({error})") from None


def _bounded(stream: BufferedIOBase, path: Path) -> Iterator[bytes]:
    """The lines of a stream with their ends."""
    most = max(UNPACKED, TIMES * path.stat().st_size) if path.suffix == ".gz" else None
    read = number = 0
    while line := stream.readline(LONGEST + 1):
        number, read = number + 1, read + len(line)
        if len(line) > LONGEST:
            raise ConsommeError(f"{path}: line {number} has more than {LONGEST >> 20} MiB; is this a file of text?")
        if most is not None and read > most:
            raise ConsommeError(
                f"{path}: unpacks to more than {most >> 20} MiB, over {TIMES} times its size; no text does. Unpack it yourself "
                "and look at it"
            )
        yield line


def foreign_encoding(path: Path) -> str | None:
    """UTF-16 or UTF-32 where the file begins like that, for a sentence; None for anything else."""
    try:
        with opened(path) as stream:
            start = stream.read(LOOKED_AT)
    except (OSError, *DAMAGED):
        return None
    for mark, name in MARKS.items():
        if start.startswith(mark):
            return name
    zeros, ends = start.count(0), start.count(b"\n")
    # of each of its characters a half or three quarters, where they are Latin, and of each of its line ends
    if zeros <= len(start) / 20 or start.count(b"\n\0") + start.count(b"\0\n") < ends:
        return None
    return "UTF-32" if zeros > len(start) * 0.6 else "UTF-16"


def opened(path: Path) -> BufferedIOBase:
    """A file's bytes, unpacked where its name ends in .gz."""
    return gzip.open(path) if path.suffix == ".gz" else open(path, "rb")
