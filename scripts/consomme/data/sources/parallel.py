"""Sentence pairs: PREFIX.en and PREFIX.fr line by line, or one file of tab-separated columns; both also gzipped."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from consomme.common.errors import ConsommeError
from consomme.common.settings import Section
from consomme.common.values import Place
from consomme.data.sources.base import Raw, Source, on_disk, place_of, text_of
from consomme.data.sources.cells import TAB, csv_records, quoted_throughout, split, tsv_records
from consomme.data.sources.lines import lines
from consomme.data.sources.tables import ragged

SIDES = ("source", "target")
# what a header calls the columns, beside the languages
SOURCE = ("source", "src", "source_text")
TARGET = ("target", "trg", "tgt", "target_text")
DOCUMENT = ("document", "doc")


class Settings(Section):
    """Two aligned text files PATH.LANGUAGE (or .gz), or one TSV file of source, target and perhaps document."""

    path: Place = Field(description="what both names begin with, or the TSV file; or an address")


class Parallel(Source):
    """{"path": PREFIX} with a file a language (one alone where a side is missing), or {"path": "FILE.tsv"} with source, target and perhaps document."""

    name = "parallel"
    settings = Settings
    tasks = ("nmt",)

    def files(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path) -> list[Path]:
        there = [language for side, language in zip(SIDES, languages, strict=False) if side != corpus.get("missing")]
        table = _is_table(Path(corpus["path"]))
        endings = [] if table else [f".{language}{packed}" for language in there for packed in ("", ".gz")]
        path = place_of(corpus, data_root, *endings)
        if table:
            return [path]
        return [_existing(path.with_name(f"{path.name}.{language}")) for language in there]

    def read(self, corpus: Mapping[str, Any], task: str, languages: Sequence[str], data_root: Path) -> Iterator[Raw]:
        paths = self.files(corpus, languages, data_root)
        if _is_table(paths[0]):
            yield from _table(paths[0], languages)
            return
        if corpus.get("missing"):
            for number, line in enumerate(lines(paths[0]), 1):
                row = Raw(f"{number:07d}", fields={"line": number})
                if corpus["missing"] == "source":
                    row.target = _decoded(row, line)
                else:
                    row.source = _decoded(row, line)
                yield row
            return
        if len(paths) != 2:
            raise ConsommeError(f"parallel corpus {data_root / corpus['path']}: two languages wanted, got {languages}")
        counts = [sum(1 for _ in lines(p)) for p in paths]
        if counts[0] != counts[1]:
            raise ConsommeError(
                f"misaligned: {paths[0]} has {counts[0]} lines, {paths[1]} has {counts[1]}; line N of one has to "
                "translate line N of the other"
            )
        for number, (source, target) in enumerate(zip(*map(lines, paths), strict=True), 1):
            row = Raw(f"{number:07d}", fields={"line": number})
            row.source, row.target = _decoded(row, source), _decoded(row, target)
            yield row


def _table(path: Path, languages: Sequence[str]) -> Iterator[Raw]:
    """Rows of source, target and perhaps document, in the order that a header gives, if there is one."""
    first = next(lines(path), b"").decode("utf-8", "replace")
    header = _header(split(first, TAB, quoted=quoted_throughout(first)), languages)
    order: Sequence[int | None] = header or (0, 1, 2)
    width = len(first.split(TAB)) if header else _width(path, first)
    columns = width if header else min(width, 3)
    quoted = quoted_throughout(first) and (header or all(x[:1] == x[-1:] == b'"' for x in lines(path)))
    table = csv_records(lines(path), TAB) if quoted else tsv_records(lines(path), width)
    for number, cells in itertools.islice(table, 1 if header else 0, None):
        row = Raw(f"{number:07d}", fields={"line": number})
        if isinstance(cells, tuple):
            row.problem = cells
        elif len(cells) < 2:
            row.problem = ("columns", f"line {number} has {len(cells)}; source, target, perhaps document wanted")
        elif any(cells[columns:]):
            row.problem = ragged(number, len(cells), columns)
        else:
            cell = (text_of(cells[k]) if k is not None and k < len(cells) else None for k in order)
            row.source, row.target, row.document = cell
            row.fields = {"line": number, "document": row.document}
        yield row


def _width(path: Path, first: str) -> int:
    """The number of cells in the first line where no cell begins with a quote: inside of quotes a tab looks like one more.
    If there is no such line, in the first, with its quotes."""
    cells = (line.split(b"\t") for line in lines(path) if b"\t" in line)
    plain = next((line for line in cells if not any(cell.startswith(b'"') for cell in line)), None)
    return len(plain or split(first, TAB, quoted=True))


def _header(cells: Sequence[str], languages: Sequence[str]) -> tuple[int | None, int | None, int | None] | None:
    """The places of source, target and document, if this first line is a header: it names both sides, by a usual name or by
    the language."""
    names = [cell.strip().casefold() for cell in cells]
    sides = [
        [n for n, name in enumerate(names) if name in (*usual, language.casefold())]
        for usual, language in zip((SOURCE, TARGET), languages, strict=True)
    ]
    if not all(sides):
        return None
    return sides[0][0], sides[1][0], next((n for n, name in enumerate(names) if name in DOCUMENT), None)


def _decoded(row: Raw, line: bytes) -> str | None:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        row.problem = ("encoding", f"line {row.fields['line']} is not UTF-8 at its byte {error.start + 1}")
        return None


def _is_table(path: Path) -> bool:
    return path.name.endswith((".tsv", ".tsv.gz"))


def _existing(path: Path) -> Path:
    plain, zipped = on_disk(path), on_disk(path.with_name(f"{path.name}.gz"))
    return zipped if zipped.exists() and not plain.exists() else plain
