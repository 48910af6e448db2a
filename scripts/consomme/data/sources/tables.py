"""Tables as people keep them, .tsv, .csv and .jsonl: rows, or what is wrong with a line; nothing is dropped unreported."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError
from consomme.data.audio import is_file
from consomme.data.sources.cells import AUDIO, Problem, Record, csv_records, quoted_throughout, tsv_records
from consomme.data.sources.lines import lines
from consomme.data.text import nfc


def records(path: Path) -> Iterator[tuple[int, dict[str, Any] | Problem]]:
    """What stands below the header as (line number, column -> cell), or (line number, why it isn't a row).

    The number is that of a row's first line. Cells that a line lacks at its end are empty. Raises ConsommeError for a
    header that can't be used."""
    if not path.is_file():
        return
    if path.suffix == ".jsonl":
        yield from _objects(path)
        return
    header: list[str] | None = None
    for number, cells in _rows(path):
        if header is None:
            header = _header(path, number, cells)
        elif isinstance(cells, tuple):
            yield number, cells
        elif any(cells[len(header) :]):
            yield number, ragged(number, len(cells), len(header))
        else:
            yield number, dict(zip(header, cells + [""] * (len(header) - len(cells)), strict=False))


def ragged(number: int, found: int, wanted: int) -> Problem:
    """Why a line with more fields than there are columns is left out: none can be told to be the one too many."""
    return "ragged", f"line {number} has {found} fields for {wanted} columns"


def header_of(path: Path) -> list[str] | None:
    """The names of the columns: the header's, or the fields of the first record. None where no line can be read. Raises
    ConsommeError for a header that can't be used."""
    if not path.is_file():
        return None
    if path.suffix == ".jsonl":
        return next((list(cells) for _, cells in _objects(path) if isinstance(cells, dict)), None)
    return next((_header(path, number, cells) for number, cells in _rows(path)), None)


def like_data(header: Sequence[str], path: Path) -> str:
    """A hint for error messages if the first line of a table looks like data and not like a header (it holds a file or a
    sentence), beginning with ". "; else the empty string."""
    if path.suffix == ".jsonl":
        return ""
    for cell in header:
        sentence = len(cell.split()) > 2 or cell.endswith((".", "?", "!", "…", "。", "？", "！"))
        if sentence or cell.lower().endswith(AUDIO) or is_file(path.parent / cell):
            line = " | ".join(header)
            shown = line if len(line) <= 80 else line[:77] + "..."
            return f". The first line looks like data, and not like the names of columns ({shown}): put a header line above it"
    return ""


def _rows(path: Path) -> Iterator[Record]:
    """The records of a .csv or .tsv, its header first, without empty ones."""
    if path.suffix == ".csv":
        yield from csv_records(lines(path))
        return
    first = next((line for line in lines(path) if line.strip()), b"").decode("utf-8", "replace")
    read = csv_records(lines(path), "\t") if quoted_throughout(first) else tsv_records(lines(path))
    for number, cells in read:
        if isinstance(cells, tuple) or any(cell.strip() for cell in cells):
            yield number, cells


def _header(path: Path, number: int, cells: list[str] | Problem) -> list[str]:
    if isinstance(cells, tuple):
        raise ConsommeError(
            f"{path}: the header can't be read: {cells[1]}. Save the table as UTF-8, with quotes around whole cells only"
        )
    names = [*map(nfc, cells)]
    if twice := [name for n, name in enumerate(names) if name and name in names[:n]]:
        raise ConsommeError(
            f"{path}: line {number}, the header, has the column '{twice[0]}' twice: rename or remove one of them"
            f"{like_data(cells, path)}"
        )
    return names


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any] | Problem]]:
    for number, line in enumerate(lines(path), 1):
        if line.strip():
            yield number, record_of(line, f"line {number}")


def record_of(text: bytes, name: str) -> dict[str, Any] | Problem:
    """A record in JSON, its keys in NFC; or why it is none. name: what it is called in that."""
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_each_once)
    except _Twice as error:
        return "columns", f"{name} has '{error}' twice"
    except RecursionError:
        return "columns", f"{name} is nested too deeply for a record"
    except ValueError:
        value = None
    return value if isinstance(value, dict) else ("encoding", f"{name} is not UTF-8, or not a record")


class _Twice(Exception):
    """A key that a record has twice."""


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in ((nfc(key), value) for key, value in pairs):
        if key in found:
            raise _Twice(key)
        found[key] = value
    return found
