"""The lines of a text file, whatever ends them, and the encodings that are not UTF-8."""

from __future__ import annotations

import gzip
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
LOOKED_AT = 4096  # bytes


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, unpacked where its name ends in .gz, without their ends and without a byte order mark.

    Only a line feed ends a line, whatever else Unicode calls a line separator. In a file that has none, a carriage
    return does. Raises ConsommeError for a gzip file that isn't whole."""
    with opened(path) as stream:
        try:
            for number, line in enumerate(stream):
                if number == 0:
                    line = line.removeprefix(BYTE_ORDER_MARK)
                    if not line.endswith(b"\n"):
                        # the whole file
                        yield from line.removesuffix(b"\r").split(b"\r")
                        return
                yield line.rstrip(b"\r\n")
        except (gzip.BadGzipFile, EOFError) as error:
            raise ConsommeError(f"{path}: not a whole gzip file ({error})") from None


def foreign_encoding(path: Path) -> str | None:
    """UTF-16 or UTF-32 where the file begins like that, for a sentence; None for anything else."""
    try:
        with opened(path) as stream:
            start = stream.read(LOOKED_AT)
    except (OSError, EOFError):
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
