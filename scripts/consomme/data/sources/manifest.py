"""A table with a row an example: .tsv, .csv or .jsonl."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from consomme.common.errors import ConsommeError, nearest
from consomme.common.settings import Section
from consomme.common.values import Text
from consomme.data.sources.base import Numbered, Raw, Source, kept, place_of, text_of, where_of
from consomme.data.sources.tables import Problem, header_of, like_data, records
from consomme.data.text import nfc

ROLES = {
    "asr": ("audio", "text", "speaker", "document", "recording"),
    "nmt": ("source", "target", "document"),
}
NEEDED = {"asr": ("audio", "text"), "nmt": ("source", "target")}
SUFFIXES = (".tsv", ".csv", ".jsonl")


class Settings(Section):
    """A table of examples: TSV, CSV or JSONL."""

    path: Text = Field(description="the table; audio paths in it are relative to its folder")
    columns: dict[Text, Text] = Field(default_factory=dict, description="our name: the table's column")


class Manifest(Source):
    """{"path": FILE, "columns": {"audio": "path", "text": "sentence"}}: `columns` names the column of each role where
    it isn't called as the role is (asr: audio, text, speaker, document, recording; nmt: source, target, document).
    Audio paths are relative to the manifest's folder; an `id` column, if there is one, names the rows."""

    name = "manifest"
    settings = Settings

    def files(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path) -> list[Path]:
        return [place_of(corpus, data_root)]

    def recordings(self, corpus: Mapping[str, Any], data_root: Path) -> tuple[Path, Iterable[str]]:
        path, column, where = place_of(corpus, data_root), columns_of(corpus, "asr")["audio"], where_of(corpus)
        rows = (cells for _, cells in records(path) if isinstance(cells, dict))
        return path.parent, (str(cells[column]) for cells in rows if cells.get(column) and kept(cells, where))

    def check(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path) -> list[str]:
        path = place_of(corpus, data_root)
        if path.suffix not in SUFFIXES:
            return [f"manifest {path}: the name has to end in one of {', '.join(SUFFIXES)}"]
        if problems := super().check(corpus, languages, data_root):
            return problems
        there = header_of(path) or []
        needed = {columns_of(corpus, task)[role] for task, roles in NEEDED.items() for role in roles}
        strange = "" if needed & set(there) else like_data(there, path)
        return [f"{path}: none of its columns is called {', '.join(sorted(needed))}{strange}"] if strange else []

    def read(self, corpus: Mapping[str, Any], task: str, languages: Sequence[str], data_root: Path) -> Iterator[Raw]:
        path = place_of(corpus, data_root)
        problems = self.check(corpus, languages, data_root)
        if problems:
            raise ConsommeError("; ".join(problems))
        columns, there = columns_of(corpus, task), header_of(path)
        for role in needed_of(corpus, task):
            if there is not None and columns[role] not in there:
                raise ConsommeError(
                    f"{path}: no column '{columns[role]}' for {role}{nearest(columns[role], there)}; there are "
                    f"{', '.join(there)}. Say which it is with columns: {{{role}: NAME}}{like_data(there, path)}"
                )
        yield from rows_of(records(path), columns, task, path.parent)


def columns_of(corpus: Mapping[str, Any], task: str) -> dict[str, str]:
    """Role -> column for `task`, with the corpus's own names laid over the defaults."""
    given = corpus.get("columns") or {}
    return {role: role for role in ROLES[task]} | {role: nfc(column) for role, column in given.items()}


def needed_of(corpus: Mapping[str, Any], task: str) -> tuple[str, ...]:
    """The roles that must have a column: all but the side that the corpus says is missing."""
    missing = corpus.get("missing")
    return tuple(role for role in NEEDED[task] if role != ("text" if task == "asr" and missing else missing))


def rows_of(
    table: Iterator[tuple[int, dict[str, Any] | Problem]], columns: Mapping[str, str], task: str, root: Path
) -> Iterator[Raw]:
    """Numbered records as raw rows. Where there is no `id`, a recording's name is one, numbered from its second row on."""
    numbered = Numbered()
    for number, cells in table:
        if isinstance(cells, tuple):
            yield Raw(f"{number:07d}", problem=cells)
            continue
        cell = {role: text_of(cells.get(column)) for role, column in columns.items()}
        name = text_of(cells.get("id"))
        row = Raw(name or f"{number:07d}", fields=cells, document=cell.get("document"))
        if task == "nmt":
            row.source, row.target = cell["source"], cell["target"]
        else:
            row.target, row.speaker = cell["text"], cell.get("speaker")
            row.audio = root / cell["audio"] if cell["audio"] else None
            row.id = name or (numbered(cell["audio"]) if cell["audio"] else row.id)
            recording = cell.get("recording")
            row.recordings = (recording,) if recording else ()
        yield row
