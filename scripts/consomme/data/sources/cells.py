"""Lines of a table as cells, where quotes may hold what would end a cell or a line.

A .csv follows RFC 4180: a cell that begins with a quote ends with the next quote that isn't doubled. A .tsv is written in
two ways: with quotes as characters like others (Common Voice), or quoted as a .csv is (pandas). Which of them it is shows
in each cell. Where neither reading fits, the line is a bad row; none swallows the rows below it."""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import PurePath

AUDIO = (".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac", ".wma", ".sph")
QUOTE, TAB, COMMA = '"', "\t", ","
LONGEST = 1000  # lines of one record
UNDECODABLE = re.compile("[\udc80-\udcff]")  # what a byte that isn't UTF-8 becomes

Problem = tuple[str, str]  # reason, detail
Record = tuple[int, list[str] | Problem]  # the number of its first line, from 1; its cells, or why it isn't a row


class _Open(Exception):
    """A quote that isn't closed."""


class _Stray(Exception):
    """A quote where none may be."""


def csv_records(lines: Iterable[bytes], mark: str = COMMA) -> Iterator[Record]:
    """Records whose quoted cells may hold marks, quotes (doubled) and line breaks. Empty lines are left out."""
    source, columns = _Lines(lines), 0
    for number, line in source:
        if not line.strip():
            continue
        cells: list[str] | None
        more = 0
        try:
            cells = _split(line, mark)
        except _Stray:
            cells = None
        except _Open:
            cells, more = _over_lines(line, source, mark, columns)
        if cells is None:
            problem = f"line {number} has a quote that isn't closed, or one inside of a quoted text"
            yield number, ("quotes", problem)
            for below in range(number + 1, number + more + 1):
                yield below, ("quotes", f"line {below} may belong to the quoted text that begins in line {number}")
        else:
            columns = columns or len(cells)
            yield number, _decoded(number, cells)


def tsv_records(lines: Iterable[bytes], columns: int = 0) -> Iterator[Record]:
    """Records of tab-separated cells, one for each line; an empty line has one empty cell.

    A quoted cell counts as such only if it holds what needs quotes: a doubled quote, a tab, a line break. columns: how many
    there are; 0: as many as in the first line."""
    source = _Lines(lines)
    for number, line in source:
        cells = line.split(TAB)
        if QUOTE in line:
            cells = _where_needed(line, cells, source, columns)
        columns = columns or len(cells)
        yield number, _decoded(number, cells)


def quoted_throughout(line: str) -> bool:
    """Whether each cell of a line of a .tsv is quoted, as writers do that quote all."""
    return all(len(cell) > 1 and cell[0] == cell[-1] == QUOTE for cell in line.split(TAB))


def split(line: str, mark: str, quoted: bool) -> list[str]:
    """The cells of one line; quoted: with its quotes taken as such, if they can be."""
    try:
        return _split(line, mark) if quoted else line.split(mark)
    except (_Open, _Stray):
        return line.split(mark)


# -- one record --------------------------------------------------------------------------------------------------------
def _split(text: str, mark: str) -> list[str]:
    """The cells of a record. Raises _Open or _Stray."""
    if QUOTE not in text:
        return text.split(mark)
    cells, at = [], 0
    while True:
        start = at
        while text.startswith(" ", start):
            start += 1
        if text.startswith(QUOTE, start):
            cell, at = _quoted(text, start + 1)
            if at < len(text) and text[at] != mark:
                raise _Stray
        else:
            end = text.find(mark, at)
            end = len(text) if end < 0 else end
            cell, at = text[at:end], end
        cells.append(cell)
        if at >= len(text):
            return cells
        at += 1


def _quoted(text: str, at: int) -> tuple[str, int]:
    """The quoted text that begins at `at`, and the place behind its closing quote."""
    parts = []
    while (end := text.find(QUOTE, at)) >= 0:
        if not text.startswith(QUOTE, end + 1):
            return "".join([*parts, text[at:end]]), end + 1
        parts.append(text[at : end + 1])
        at = end + 2
    raise _Open


def _over_lines(first: str, source: _Lines, mark: str, columns: int) -> tuple[list[str] | None, int]:
    """The cells of a record with line breaks in them, and how many lines below the first it takes from `source`.

    Without cells, its quote is never closed, or would swallow rows: lines that name a recording are rows, and only the
    first line is bad. Where lines look like rows and the quote is closed below them, it can't be told what they are: all
    of them are bad, unless the first line names a recording, as a row would."""
    joined, doubtful = [first], False
    row_by_itself, heard = first.count(mark) + 1 >= columns, _names_audio(first, mark)
    for line in itertools.islice(source.ahead(), LONGEST):
        if row_by_itself and line.count(mark) + 1 == columns:
            if _names_audio(line, mark):
                return None, 0
            doubtful = doubtful or not (heard or QUOTE in line)
        joined.append(line)
        if QUOTE in line:
            try:
                record = _split("\n".join(joined), mark)
            except _Open:
                continue
            except _Stray:
                return None, 0
            source.drop(len(joined) - 1)
            return None if doubtful else record, len(joined) - 1
    return None, 0


def _names_audio(line: str, mark: str) -> bool:
    return any(PurePath(cell.strip(QUOTE)).suffix.lower() in AUDIO for cell in line.split(mark))


def _where_needed(line: str, cells: list[str], source: _Lines, columns: int) -> list[str]:
    """The cells of a line of a .tsv, and of those below it that a quoted cell runs over."""
    if columns and len(cells) > columns and len(inside := split(line, TAB, quoted=True)) <= columns:
        # the tab too many stands inside of quotes
        return inside
    if columns and any(cell.startswith(QUOTE) and cell.count(QUOTE) % 2 for cell in cells):
        record = _over_lines_of_tabs(line, len(cells), source, columns)
        if record is not None:
            return record
    return [_unquoted(cell) for cell in cells]


def _over_lines_of_tabs(first: str, count: int, source: _Lines, columns: int) -> list[str] | None:
    """The cells of a record of a .tsv with line breaks in them. None where it would swallow what has all tabs of a row.
    count: the cells of its first line."""
    joined, tabs = [first], count - 1
    for line in itertools.islice(source.ahead(), LONGEST):
        tabs += line.count(TAB)
        if tabs >= columns if count == columns else line.count(TAB) >= columns - 1 and QUOTE not in line:
            return None
        joined.append(line)
        if QUOTE in line:
            try:
                record = _split("\n".join(joined), TAB)
            except _Open:
                continue
            except _Stray:
                return None
            if len(record) > columns:
                return None
            source.drop(len(joined) - 1)
            return record
    return None


def _unquoted(cell: str) -> str:
    """A quoted cell with doubled quotes or a carriage return in it as what was quoted; any other as it stands."""
    inner = cell[1:-1]
    if len(cell) < 2 or not cell[0] == cell[-1] == QUOTE or QUOTE in inner.replace(QUOTE * 2, ""):
        return cell
    return inner.replace(QUOTE * 2, QUOTE) if QUOTE in inner or "\r" in inner or not inner else cell


def _decoded(number: int, cells: list[str]) -> list[str] | Problem:
    if any(not cell.isascii() and UNDECODABLE.search(cell) for cell in cells):
        return "encoding", f"line {number} is not UTF-8"
    return cells


class _Lines:
    """Numbered lines as text; lines ahead can be looked at before they are taken, or dropped."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        # undecodable bytes become lone surrogates, so that only the rows that hold them are lost
        self._source = ((n, line.decode("utf-8", "surrogateescape")) for n, line in enumerate(lines, 1))
        self._seen: deque[tuple[int, str]] = deque()

    def __iter__(self) -> Iterator[tuple[int, str]]:
        while (line := self._seen.popleft() if self._seen else next(self._source, None)) is not None:
            yield line

    def ahead(self) -> Iterator[str]:
        """The lines that come next, without taking them."""
        yield from (line for _, line in list(self._seen))
        for line in self._source:
            self._seen.append(line)
            yield line[1]

    def drop(self, count: int) -> None:
        """Take the next lines, which have been looked at, and forget them."""
        for _ in range(count):
            self._seen.popleft()
