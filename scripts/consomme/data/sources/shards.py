"""Tar files of examples, as WebDataset has them: files that share a name up to its first dot are one example."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from pydantic import Field

from consomme.common.addresses import is_address
from consomme.common.errors import ConsommeError
from consomme.common.settings import Section
from consomme.common.values import Place
from consomme.data import remote
from consomme.data.audio import Recording
from consomme.data.sources.base import Raw, Source, is_there, on_disk, place_of
from consomme.data.sources.cells import AUDIO, Problem
from consomme.data.sources.roles import Columns, Reader, columns_of, named_of
from consomme.data.sources.tables import record_of
from consomme.data.text import nfc

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
KEY = "__key__"  # WebDataset's word
WITHIN = 1 << 32  # numbers of the rows of one shard
MOST = 100_000  # shards of a corpus
LARGEST = 2**24  # bytes of a text or a record
LONGEST = 2**30  # bytes of a recording, which is read into memory: nine hours in 16 bits at 16 kHz
BLOCK = 512  # bytes; a tar file ends with two blocks of zeros


class Settings(Section):
    """Tar files of recordings with their texts, as WebDataset has them."""

    path: Place = Field(
        description="a tar file, several (train-{00000..00127}.tar), or a folder of them; or its address. In it, KEY.flac (or "
        "another format) and KEY.txt or KEY.json are an example; nmt: KEY.json"
    )
    columns: Columns = Field(default_factory=dict, description="role: the key of KEY.json, as a manifest's column")


class Shards(Source):
    """{"path": "train-{00000..00127}.tar", "columns": {...}}. The fields for `where` are the keys of KEY.json. Shards are read in
    the order of their names, and recordings in place, wherever they lie; of a store, one shard at a time is on this disk."""

    name = "shards"
    settings = Settings
    in_place = True

    def recordings(self, corpus: Mapping[str, Any], data_root: Path) -> tuple[Path, Iterable[str]]:
        tars = _tars(corpus, data_root)
        return (tars[0].parent, (str(tar.relative_to(tars[0].parent)) for tar in tars)) if tars else (data_root, ())

    def check(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path) -> list[str]:
        tars = _tars(corpus, data_root)
        if not tars:
            return [f"no file {data_root / corpus['path']}, and no folder of that name with files *.tar in it"]
        absent = [tar for tar in tars if not is_there(tar)]
        more = f", and {len(absent) - 1} more of {len(tars)}" if absent[1:] else ""
        return [f"no file {absent[0]}{more}"] if absent else []

    def read(self, corpus: Mapping[str, Any], task: str, languages: Sequence[str], data_root: Path) -> Iterator[Raw]:
        return self.read_part(corpus, task, languages, data_root, 1, 1)

    def part_of(self, number: int, parts: int) -> int:
        return number // WITHIN % parts + 1  # a shard is in one part

    def read_part(
        self, corpus: Mapping[str, Any], task: str, languages: Sequence[str], data_root: Path, part: int, parts: int
    ) -> Iterator[Raw]:
        if problems := self.check(corpus, languages, data_root):
            raise ConsommeError("; ".join(problems))
        columns = columns_of(corpus, task) | {"id": named_of(corpus).get("id", KEY)}
        reader = Reader(columns, task, data_root, unit="example", names_recordings=False)
        for place, tar in enumerate(_tars(corpus, data_root)):
            if self.part_of(place * WITHIN, parts) != part:
                continue
            with remote.borrowed(tar) as file:
                # what was borrowed is gone by the time that somebody listens to it
                for number, example in enumerate(_examples(tar, file, loaded=remote.viewed(tar))):
                    row = _row(number, example, reader)
                    row.number = place * WITHIN + number
                    yield row


@dataclass
class Example:
    """What a shard holds of one key, before which the shard's name stands, since shards may have the same keys. cells: of
    KEY.json and KEY.txt."""

    key: str
    recordings: list[Recording] = field(default_factory=list)
    cells: dict[str, Any] = field(default_factory=dict)
    problem: Problem | None = None


def _row(number: int, example: Example, reader: Reader) -> Raw:
    cells: dict[str, Any] = {**example.cells, KEY: example.key}
    if audio := reader.columns.get("audio"):
        cells[audio] = example.recordings[0] if example.recordings else None
    row = reader(number, cells, example.cells)
    row.recordings = row.recordings or (example.key,)
    if len(example.recordings) > 1:
        row.problem = ("columns", f"{example.key} has {len(example.recordings)} recordings, and one is wanted")
    row.problem = example.problem or row.problem
    return row


def _examples(tar: Path, file: Path, loaded: bool) -> Iterator[Example]:
    """The examples of a shard, whose files stand side by side. file: where it is now; loaded: with the bytes of recordings."""
    current: Example | None = None
    with open(file, "rb") as stream:
        for member in _members(tar, stream):
            path = PurePosixPath(nfc(member.name))
            stem, _, kind = path.name.partition(".")
            key = str(PurePosixPath(tar.stem) / path.parent / stem)
            if current is None or current.key != key:
                if current is not None:
                    yield current
                current = Example(key)
            kind = f".{kind.lower()}"
            if kind in AUDIO and member.size > LONGEST:
                current.problem = "too long", f"{member.name} has {member.size} bytes"
            elif kind in AUDIO:
                content = _bytes(stream, member) if loaded else None
                current.recordings.append(Recording(tar, member.offset_data, member.size, content))
            elif kind in (".txt", ".json"):
                problem = _words(current, kind, member, stream)
                current.problem = current.problem or problem
    if current is not None:
        yield current


def _words(example: Example, kind: str, member: tarfile.TarInfo, stream: BinaryIO) -> Problem | None:
    """Add what a text or a record says to the example; or why it can't be read."""
    if member.size > LARGEST:
        return "not text", f"{member.name} has {member.size} bytes"
    content = _bytes(stream, member)
    if kind == ".json":
        found = record_of(content, member.name)
        if isinstance(found, tuple):
            return found
        example.cells.update(found | example.cells)
        return None
    try:
        example.cells["text"] = content.decode("utf-8")
    except UnicodeDecodeError as error:
        return "encoding", f"{member.name} is not UTF-8 at its byte {error.start + 1}"
    return None


def _bytes(stream: BinaryIO, member: tarfile.TarInfo) -> bytes:
    stream.seek(member.offset_data)
    return stream.read(member.size)


def _members(tar: Path, stream: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """The files in a shard. ConsommeError where it can't be read to its end."""
    end = 0
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # ty: ignore[missing-attribute]  (all that were read would stay in memory)
                end = member.offset_data + -(-member.size // BLOCK) * BLOCK
                if member.isreg() and not member.issparse():
                    yield member
    except (tarfile.TarError, UnicodeError, ValueError) as error:
        raise ConsommeError(
            f"{tar} is no tar file, or a damaged one ({error}): fetch or write it again; compressed ones have to be unpacked"
        ) from None
    stream.seek(end)
    if len(rest := stream.read(2 * BLOCK)) < 2 * BLOCK or any(rest):
        raise ConsommeError(f"{tar} ends too early, after {end} bytes: fetch or write it again")


def _tars(corpus: Mapping[str, Any], data_root: Path) -> list[Path]:
    """The shards, in the order of their names."""
    given = str(corpus["path"])
    if RANGE.search(given) or given.endswith(".tar"):
        names = _expanded(given)
        if not is_address(given):
            return [on_disk(data_root / name) for name in names]
        tars = [*map(remote.view, names)]
        remote.look(tars)
        return tars
    folder = place_of(corpus, data_root, "/")
    return sorted((path for path in folder.glob("*.tar") if is_there(path)), key=lambda path: nfc(path.name))


def _expanded(name: str) -> Iterator[str]:
    """train-{000..127}.tar as the names that it stands for, as bash and WebDataset have it."""
    found = RANGE.search(name)
    if found is None:
        yield name
        return
    first, last = int(found[1]), int(found[2])
    if last < first or last - first >= MOST:
        raise ConsommeError(f"path: {found[0]} has to rise, and to be {MOST} names at most")
    for number in range(first, last + 1):
        yield from _expanded(f"{name[: found.start()]}{number:0{len(found[1])}d}{name[found.end() :]}")
