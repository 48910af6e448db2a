"""A table with a row an example: .tsv, .csv or .jsonl."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError, nearest
from consomme.data.sources.base import CACHE, Raw, Source, inventory_of, text_of

ROLES = {
    "asr": ("audio", "text", "speaker", "document", "recording"),
    "nmt": ("source", "target", "document"),
}
NEEDED = {"asr": ("audio", "text"), "nmt": ("source", "target")}
SUFFIXES = (".tsv", ".csv", ".jsonl")


class Manifest(Source):
    """{"path": FILE, "columns": {"audio": "path", "text": "sentence"}}: `columns` names the column of each role where
    it isn't called as the role is (asr: audio, text, speaker, document, recording; nmt: source, target, document).
    Audio paths are relative to the manifest's folder; an `id` column, if there is one, names the rows."""

    name = "manifest"

    def files(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path) -> list[Path]:
        return [data_root / corpus["path"]]

    def content(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path, cache: Path = CACHE) -> Any:
        path = data_root / corpus["path"]
        column = columns_of(corpus, "asr")["audio"]
        named = {path.parent / cells[column] for _, cells in records(path) if cells and cells.get(column)}
        inside = {p for p in named if p.is_file() and p.is_relative_to(path.parent)}
        audio = inventory_of(inside, path.parent, cache) if inside else ""
        outside = {str(p): [p.stat().st_size, p.stat().st_mtime_ns] for p in named - inside if p.is_file()}
        return [*super().content(corpus, languages, data_root, cache), audio, outside]

    def check(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path) -> list[str]:
        path = data_root / corpus["path"]
        if path.suffix not in SUFFIXES:
            return [f"manifest {path}: the name has to end in one of {', '.join(SUFFIXES)}"]
        return super().check(corpus, languages, data_root)

    def read(self, corpus: Mapping[str, Any], task: str, languages: Sequence[str], data_root: Path) -> Iterator[Raw]:
        path = data_root / corpus["path"]
        problems = self.check(corpus, languages, data_root)
        if problems:
            raise ConsommeError("; ".join(problems))
        needed = needed_of(corpus, task)
        yield from rows_of(records(path), columns_of(corpus, task), task, path.parent, str(path), needed)


def columns_of(corpus: Mapping[str, Any], task: str) -> dict[str, str]:
    """Role -> column for `task`, with the corpus's own names laid over the defaults."""
    return {role: role for role in ROLES[task]} | dict(corpus.get("columns") or {})


def needed_of(corpus: Mapping[str, Any], task: str) -> tuple[str, ...]:
    """The roles that must have a column: all but the side that the corpus says is missing."""
    missing = corpus.get("missing")
    return tuple(role for role in NEEDED[task] if role != ("text" if task == "asr" and missing else missing))


def rows_of(
    table: Iterator[tuple[int, dict[str, Any] | None]],
    columns: Mapping[str, str],
    task: str,
    root: Path,
    where: str,
    needed: Sequence[str],
) -> Iterator[Raw]:
    """Numbered records as raw rows. A record of None is a line that wasn't UTF-8 or no JSON."""
    seen = False
    for number, cells in table:
        if cells is None:
            yield Raw(f"{number:07d}", problem=("encoding", f"line {number} is not UTF-8, or not a record"))
            continue
        if not seen:
            seen = True
            for role in needed:
                if columns[role] not in cells:
                    raise ConsommeError(
                        f"{where}: no column '{columns[role]}' for {role}{nearest(columns[role], cells)}; there are "
                        f"{', '.join(map(str, cells))}. Say which it is with columns: {{{role}: NAME}}"
                    )
        cell = {role: text_of(cells.get(column)) for role, column in columns.items()}
        name = text_of(cells.get("id"))
        row = Raw(name or f"{number:07d}", fields=cells, document=cell.get("document"))
        if task == "nmt":
            row.source, row.target = cell["source"], cell["target"]
        else:
            row.target, row.speaker = cell["text"], cell.get("speaker")
            row.audio = root / cell["audio"] if cell["audio"] else None
            row.id = name or cell["audio"] or row.id
            row.recordings = (cell["recording"],) if cell.get("recording") else ()
        yield row


def records(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """The lines of a .tsv, .csv or .jsonl file as (line number, column -> cell); None for a line that isn't one.

    In a .tsv quotes are characters like others and a line is a row; in a .csv a quoted cell may hold line breaks."""
    if not path.is_file():
        return
    if path.suffix == ".csv":
        yield from _csv(path)
        return
    header: list[str] | None = None
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if path.suffix == ".jsonl":
                    value = json.loads(text)
                    yield number, value if isinstance(value, dict) else None
                    continue
            except ValueError:
                yield number, None
                continue
            if header is None:
                header = text.split("\t")
            else:
                cells = text.split("\t")
                yield number, dict(zip(header, cells + [""] * (len(header) - len(cells)), strict=False))


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    # undecodable bytes become lone surrogates, so that only the rows that hold them are lost
    text = path.read_bytes().decode("utf-8", errors="surrogateescape").removeprefix("\ufeff")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    for cells in reader:
        joined = "".join(v for v in cells.values() if isinstance(v, str))
        bad = any("\udc80" <= c <= "\udcff" for c in joined)
        yield reader.line_num, None if bad else {k: v for k, v in cells.items() if k is not None}
