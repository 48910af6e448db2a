"""Tables as people keep them, .tsv, .csv and .jsonl: rows, or what is wrong with a line; nothing is dropped unreported."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError
from consomme.data.text import nfc

AUDIO = (".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac", ".wma", ".sph")
MARKS = {  # byte order marks; the longer first, because they begin like the shorter
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
LOOKED_AT = 4096  # bytes

Problem = tuple[str, str]  # reason, detail


def records(path: Path) -> Iterator[tuple[int, dict[str, Any] | Problem]]:
    """The lines below the header as (line number, column -> cell), or (line number, why it isn't a row).

    In a .tsv quotes are characters like others and a line is a row; in a .csv a quoted cell may hold line breaks, and
    the number is that of a row's last line. Cells that a line lacks at its end are empty."""
    if not path.is_file():
        return
    if path.suffix == ".jsonl":
        yield from _objects(path)
        return
    header: list[str] | None = None
    for number, cells in _cells(path):
        if cells is None:
            if header is None:
                raise ConsommeError(f"{path}: the header, line {number}, is not UTF-8: save the table in that encoding")
            yield number, ("encoding", f"line {number} is not UTF-8")
        elif header is None:
            header = [*map(nfc, cells)]
        elif any(cells[len(header) :]):
            yield number, ragged(number, len(cells), len(header))
        else:
            yield number, dict(zip(header, cells + [""] * (len(header) - len(cells)), strict=False))


def ragged(number: int, found: int, wanted: int) -> Problem:
    """Why a line with more fields than there are columns is left out: none can be told to be the one too many."""
    return "ragged", f"line {number} has {found} fields for {wanted} columns"


def header_of(path: Path) -> list[str] | None:
    """The names of the columns: the header's, or the fields of the first record. None where no line can be read."""
    if not path.is_file():
        return None
    if path.suffix == ".jsonl":
        return next((list(cells) for _, cells in _objects(path) if isinstance(cells, dict)), None)
    first = next((cells for _, cells in _cells(path)), None)
    return None if first is None else [*map(nfc, first)]


def like_data(header: Sequence[str], path: Path) -> str:
    """A hint for error messages if the first line of a table looks like data and not like a header (it holds a file or a
    sentence), beginning with ". "; else the empty string."""
    if path.suffix == ".jsonl":
        return ""
    for cell in header:
        sentence = len(cell.split()) > 2 or cell.endswith((".", "?", "!", "…", "。", "？", "！"))
        if sentence or cell.lower().endswith(AUDIO) or _is_file(path.parent / cell):
            line = " | ".join(header)
            shown = line if len(line) <= 80 else line[:77] + "..."
            return f". The first line looks like data, and not like the names of columns ({shown}): put a header line above it"
    return ""


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
    zeros = start.count(0)  # of each of its characters a half or three quarters, where they are Latin
    return None if zeros <= len(start) / 20 else "UTF-32" if zeros > len(start) * 0.6 else "UTF-16"


def opened(path: Path) -> BufferedIOBase:
    """A file's bytes, unpacked where its name ends in .gz."""
    return gzip.open(path) if path.suffix == ".gz" else open(path, "rb")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for a name, or no name at all
        return False


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any] | Problem]]:
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except ValueError:
                value = None
            if not isinstance(value, dict):
                value = ("encoding", f"line {number} is not UTF-8, or not a record")
            yield number, value


def _cells(path: Path) -> Iterator[tuple[int, list[str] | None]]:
    """Each line that isn't empty as its fields; None where it isn't UTF-8."""
    if path.suffix == ".csv":
        # undecodable bytes become lone surrogates, so that only the rows that hold them are lost
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            reader = csv.reader(stream)
            try:
                for cells in reader:
                    if cells:
                        bad = any("\udc80" <= c <= "\udcff" for cell in cells for c in cell)
                        yield reader.line_num, None if bad else cells
            except csv.Error as error:
                raise ConsommeError(f"{path}: line {reader.line_num}: {error}; is a quote left open?") from None
        return
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n").split("\t")
            except UnicodeDecodeError:
                yield number, None
