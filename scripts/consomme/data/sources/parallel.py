"""Sentence pairs: PREFIX.en and PREFIX.fr line by line, or one file of tab-separated columns; both also gzipped."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from consomme.common.errors import ConsommeError
from consomme.common.settings import Section
from consomme.common.values import Text
from consomme.data.sources.base import Raw, Source, on_disk, place_of, text_of
from consomme.data.sources.tables import opened, ragged

SIDES = ("source", "target")


class Settings(Section):
    """Two aligned text files PATH.LANGUAGE (or .gz), or one TSV file of two columns."""

    path: Text = Field(description="what both names begin with, or the TSV file")


class Parallel(Source):
    """{"path": PREFIX} with a file a language (one alone where a side is missing), or {"path": "FILE.tsv"} with source, target and perhaps document."""

    name = "parallel"
    settings = Settings
    tasks = ("nmt",)

    def files(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path) -> list[Path]:
        path = place_of(corpus, data_root)
        if _is_table(path):
            return [path]
        there = [language for side, language in zip(SIDES, languages, strict=False) if side != corpus.get("missing")]
        return [_existing(path.with_name(f"{path.name}.{language}")) for language in there]

    def read(self, corpus: Mapping[str, Any], task: str, languages: Sequence[str], data_root: Path) -> Iterator[Raw]:
        paths = self.files(corpus, languages, data_root)
        if _is_table(paths[0]):
            yield from _table(paths[0])
            return
        if corpus.get("missing"):
            for number, line in enumerate(_lines(paths[0]), 1):
                row = Raw(f"{number:07d}", fields={"line": number})
                if corpus["missing"] == "source":
                    row.target = _decoded(row, line)
                else:
                    row.source = _decoded(row, line)
                yield row
            return
        if len(paths) != 2:
            raise ConsommeError(f"parallel corpus {data_root / corpus['path']}: two languages wanted, got {languages}")
        counts = [sum(1 for _ in _lines(p)) for p in paths]
        if counts[0] != counts[1]:
            raise ConsommeError(
                f"misaligned: {paths[0]} has {counts[0]} lines, {paths[1]} has {counts[1]}; line N of one has to "
                "translate line N of the other"
            )
        for number, (source, target) in enumerate(zip(*map(_lines, paths), strict=True), 1):
            row = Raw(f"{number:07d}", fields={"line": number})
            row.source, row.target = _decoded(row, source), _decoded(row, target)
            yield row


def _table(path: Path) -> Iterator[Raw]:
    """Whether there is a document column is read from the first line: later, a tab inside a sentence looks like one."""
    columns = 0
    for number, line in enumerate(_lines(path), 1):
        row = Raw(f"{number:07d}", fields={"line": number})
        text = _decoded(row, line)
        cells = [] if text is None else text.split("\t")
        columns = columns or (min(len(cells), 3) if len(cells) > 1 else 0)
        if text is None:
            pass  # `_decoded` has said why
        elif len(cells) < 2:
            row.problem = ("columns", f"line {number} has {len(cells)}; source, target, perhaps document wanted")
        elif any(cells[columns:]):
            row.problem = ragged(number, len(cells), columns)
        else:
            row.source, row.target, row.document = itertools.islice(itertools.chain(cells, [None] * 3), 3)
            row.document = text_of(row.document)
            row.fields = {"line": number, "document": row.document}
        yield row


def _decoded(row: Raw, line: bytes) -> str | None:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        row.problem = ("encoding", f"line {row.fields['line']} is not UTF-8 at its byte {error.start + 1}")
        return None


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file as bytes: only a line feed ends one, whatever else Unicode calls a line separator."""
    with opened(path) as stream:
        try:
            for line in stream:
                yield line.rstrip(b"\r\n")
        except (gzip.BadGzipFile, EOFError) as error:
            raise ConsommeError(f"{path}: not a whole gzip file ({error})") from None


def _is_table(path: Path) -> bool:
    return path.name.endswith((".tsv", ".tsv.gz"))


def _existing(path: Path) -> Path:
    plain, zipped = on_disk(path), on_disk(path.with_name(f"{path.name}.gz"))
    return zipped if zipped.exists() and not plain.exists() else plain
