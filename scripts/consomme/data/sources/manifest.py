"""A table with a row an example: .tsv, .csv or .jsonl."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from consomme.common.errors import ConsommeError
from consomme.common.settings import Section
from consomme.common.values import Place
from consomme.data.sources.base import Raw, Source, kept, place_of, where_of
from consomme.data.sources.cells import AUDIO
from consomme.data.sources.roles import NEEDED, Columns, Reader, absent, columns_of, named_of, needed_of
from consomme.data.sources.tables import header_of, like_data, records

SUFFIXES = (".tsv", ".csv", ".jsonl")
FIRST = 20  # rows that are looked at before any job


class Settings(Section):
    """A table of examples: TSV, CSV or JSONL."""

    path: Place = Field(description="the table, or its address; audio paths in it are relative to its folder")
    columns: Columns = Field(
        default_factory=dict,
        description="role: the table's column, where it isn't called as the role is. asr: audio, text, speaker, document, "
        "recording, start, end, duration (seconds); nmt: source, target, document; both: id",
    )


class Manifest(Source):
    """{"path": FILE, "columns": {"audio": "path", "text": "sentence"}}: `columns` names the column of each role where
    it isn't called as the role is (ROLES). Audio paths are relative to the manifest's folder. `start` and `end` (or
    `duration`) cut a row out of a recording; in .jsonl an `offset` is a start. An `id` column, if there is one, names the
    rows; ids that recur are numbered."""

    name = "manifest"
    settings = Settings
    in_place = True

    def files(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path) -> list[Path]:
        return [place_of(corpus, data_root)]

    def recordings(self, corpus: Mapping[str, Any], data_root: Path) -> tuple[Path, Iterable[str]]:
        path, column, where = place_of(corpus, data_root), columns_of(corpus, "asr")["audio"], where_of(corpus)
        rows = (cells for _, cells in records(path) if isinstance(cells, dict))
        cells = (_path_of(row.get(column)) for row in rows if kept(row, where))
        return path.parent, (name for name in cells if isinstance(name, str) and name)

    def check(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path) -> list[str]:
        path = place_of(corpus, data_root)
        if problems := _file_problems(path) or super().check(corpus, languages, data_root):
            return problems
        try:
            there = _columns_in(path, corpus)
        except ConsommeError as error:
            return [str(error)]
        # which task it is for is not known here: one of which something is there
        found = {
            task: sum(columns_of(corpus, task).get(r) in there for r in needed_of(corpus, task)) for task in NEEDED
        }
        task = max(found, key=lambda task: found[task])
        if there and not found[task]:
            wanted = " or ".join(f"{' and '.join(needed_of(corpus, task))} ({task})" for task in NEEDED)
            return [
                f"{path}: no column for {wanted}; there are {', '.join(there)}. Say which it is with "
                f"columns: {{{needed_of(corpus, task)[0]}: NAME}}{like_data(there, path)}"
            ]
        return _problems(path, corpus, task, there)

    def read(self, corpus: Mapping[str, Any], task: str, languages: Sequence[str], data_root: Path) -> Iterator[Raw]:
        path = place_of(corpus, data_root)
        problems = _file_problems(path) or super().check(corpus, languages, data_root)
        if problems := problems or _problems(path, corpus, task, _columns_in(path, corpus)):
            raise ConsommeError("; ".join(problems))
        reader = Reader(columns_of(corpus, task), task, path.parent)
        offsets = path.suffix == ".jsonl" and "start" not in (corpus.get("columns") or {})
        for number, cells in records(path):
            if isinstance(cells, tuple):
                yield Raw(f"{number:07d}", problem=cells)
            elif offsets and "offset" in cells and "start" not in cells:
                yield reader(number, {**cells, "start": cells["offset"]}, cells)
            else:
                yield reader(number, cells)


def _file_problems(path: Path) -> list[str]:
    if path.suffix in SUFFIXES:
        return []
    return [f"manifest {path}: the name has to end in one of {', '.join(SUFFIXES)}"]


def _problems(path: Path, corpus: Mapping[str, Any], task: str, there: Sequence[str]) -> list[str]:
    """What is wrong with the table for the task, as far as its columns and first rows show."""
    if there and (wrong := absent(corpus, task, there)):
        return [f"{path}: {wrong}{like_data(there, path)}"]
    if task == "nmt" or corpus.get("missing"):
        return []
    columns = columns_of(corpus, task)
    rows = [cells for _, cells in itertools.islice(records(path), FIRST) if isinstance(cells, dict)]
    heard, said = ([str(cells.get(columns[role])).lower() for cells in rows] for role in NEEDED[task])
    if rows and all(text.endswith(AUDIO) for text in said) and not any(name.endswith(AUDIO) for name in heard):
        return [
            f"{path}: its column '{columns['text']}' names recordings, and '{columns['audio']}' none: are they the wrong way "
            f"round? Then say columns: {{audio: {columns['text']}, text: {columns['audio']}}}"
        ]
    return []


def _columns_in(path: Path, corpus: Mapping[str, Any]) -> list[str]:
    """The columns of a table. A record of a .jsonl may lack what others have: as many are read as it takes."""
    if path.suffix != ".jsonl":
        return header_of(path) or []
    there: dict[str, None] = {}
    named = set(named_of(corpus).values()) - {""}
    for count, (_, cells) in enumerate(records(path)):
        if count >= FIRST and named <= there.keys():
            break
        there |= dict.fromkeys(cells if isinstance(cells, dict) else ())
    return list(there)


def _path_of(cell: Any) -> Any:
    return cell.get("path") if isinstance(cell, Mapping) else cell
