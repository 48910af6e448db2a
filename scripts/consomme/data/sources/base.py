"""What a corpus source is, and the raw rows that it yields."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from consomme.common.addresses import Secret, is_address
from consomme.common.digest import digest
from consomme.common.errors import ConsommeError
from consomme.common.files import hash_file
from consomme.common.kept_hashes import kept_hashes
from consomme.common.settings import Section, shown
from consomme.data import remote
from consomme.data.sources.lines import foreign_encoding
from consomme.data.text import nfc

if TYPE_CHECKING:
    import numpy as np

    from consomme.data.audio import Recording

CACHE = Path("results/cache")
BLOCK = 32  # rows in a row that are of one part, because neighbours often lie in one file
LANGUAGES = {"asr": ("language",), "nmt": ("source_language", "target_language")}  # roles of columns


class Audible(Protocol):
    """Audio that is made rather than read. Has to travel to another process."""

    def waveform(self) -> tuple[np.ndarray, int]:
        """Mono float32 [samples] in -1..1, and the rate in Hz."""


@dataclass(slots=True)
class Raw:
    """One row as the source has it. asr: `audio` (a file, an encoded file's bytes, a part of a file, or something audible) and `target`
    (the transcript); nmt: `source` and `target`. `start` and `end`, in seconds, cut the row out of `audio`; an `end` of
    None is that of the recording. `fields` are the columns that `where` can ask for. `languages` has the cells of the
    columns that name the row's languages, by role (`LANGUAGES`), where the corpus has such columns. A row that the source
    itself found unusable says so in `problem`, as (reason, detail). `number` is the row's own in the source, whatever else
    is read; where the source doesn't set it, it is the row's place in what `read` yields, from 0."""

    id: str
    target: str | None = None
    source: str | None = None
    audio: Path | bytes | Recording | Audible | None = None
    start: float | None = None
    end: float | None = None
    speaker: str | None = None
    document: str | None = None
    recordings: tuple[str, ...] = ()
    languages: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    problem: tuple[str, str] | None = None
    number: int = -1


class Source:
    """A kind of corpus. Everything but `read` is called while planning: quick, and nothing heavy imported."""

    name: str = ""  # the word in configurations
    settings: type[Section] = Section  # the keys that a corpus has for it alone
    tasks: Sequence[str] = ("asr", "nmt")
    # those of `settings` that don't say which rows there are: two corpora that differ in these alone have the same rows
    indifferent: Sequence[str] = ("columns",)
    in_place: bool = False  # whether recordings stay where they are, so that they can be read again

    def unfit(self, corpus: Mapping[str, Any], task: str) -> tuple[str, str] | None:
        """The key that is in the way of an experiment of this task, and why; None where the corpus can serve it."""
        if task in self.tasks:
            return None
        others = ", ".join(self.tasks)
        return "source", f"'{self.name}' serves {others}, and the experiment's task is {task}"

    def files(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path) -> list[Path]:
        """The tables and texts that `read` begins with. Each has to be there."""
        return []

    def recordings(self, corpus: Mapping[str, Any], data_root: Path) -> tuple[Path, Iterable[str]]:
        """The other files that `read` reads, which may be very many and may be missing: a folder, and their paths from
        there. The preparation is started anew when the bytes of any of them change, as it is for `files`."""
        return data_root, ()

    def inventory(
        self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path, cache: Path = CACHE
    ) -> str:
        """A hash of the names and bytes of all files that `read` reads; empty where it reads none."""
        try:
            root, others = self.recordings(corpus, data_root)
            names = list(others)
        except ConsommeError:
            root, names = data_root, []  # `read` says what is wrong
        for path in self.files(corpus, languages, data_root):
            names.append(_name_from(root, path))
        return inventory_of(names, root, cache) if names else ""

    def content(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path, cache: Path = CACHE) -> Any:
        """What identifies all that `read` will read: the same content, the same rows. JSON."""
        return self.inventory(corpus, languages, data_root, cache)

    def problems(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path) -> list[str]:
        """What `check` finds, as users know it: files in stores by their addresses."""
        try:
            found = self.check(corpus, languages, data_root)
        except ConsommeError as error:
            found = [str(error)]
        return [*map(remote.with_addresses, found)]

    def check(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path) -> list[str]:
        """What can be known to be wrong before any job starts, a sentence each."""
        files = self.files(corpus, languages, data_root)
        return [problem for path in files if (problem := _file_problem(path))]

    def read(self, corpus: Mapping[str, Any], task: str, languages: Sequence[str], data_root: Path) -> Iterator[Raw]:
        """The rows, in an order that depends on the corpus alone. Raises ConsommeError where nothing can be read."""
        raise NotImplementedError

    # -- parts, which several jobs check ahead -------------------------------------------------------------------------
    def indivisible(self, corpus: Mapping[str, Any], task: str) -> str:
        """Why this corpus can't be prepared in parts; empty where it can."""
        return ""

    def part_of(self, number: int, parts: int) -> int:
        """The part that a row of this number belongs to, from 1 to `parts`."""
        return number // BLOCK % parts + 1

    def read_part(
        self, corpus: Mapping[str, Any], task: str, languages: Sequence[str], data_root: Path, part: int, parts: int
    ) -> Iterator[Raw]:
        """At least the rows of a part, in the order of `read`. A source that leaves out others sets the rows' `number`."""
        return self.read(corpus, task, languages, data_root)


class Numbered:
    """Ids for rows whose names may recur: the name in NFC, then NAME#2, NAME#3. No two are alike."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def __call__(self, name: str) -> str:
        given = name = nfc(name)
        while given in self.seen:
            self.seen[name] += 1
            given = f"{name}#{self.seen[name]}"
        self.seen[given] += 1
        return given


def _file_problem(path: Path) -> str:
    if not path.is_file():
        return f"no file {path}"
    encoding = foreign_encoding(path)
    if encoding is None:
        return ""
    return f"{path} is {encoding}, and UTF-8 is wanted: convert it, for instance by iconv -f {encoding} -t UTF-8"


def inventory_of(names: Iterable[str], root: Path, cache: Path) -> str:
    """A hash of `names`, paths from `root` or addresses, and of the bytes of those that are files; others don't count.
    Of what lies in a store counts what the store says of its content.

    The bytes' hashes are kept in one file of `cache` by size and time stamp, so that asking again costs a look at each
    file's entry; a touched file is read again and, its bytes being the same, changes nothing."""
    places = {name: under(root, name) for name in sorted(set(names))}
    stored = [name for name, path in places.items() if remote.viewed(path)]
    contents = dict(zip(stored, remote.look([places[name] for name in stored]), strict=True))
    found = {name: _file(str(path)) for name, path in places.items() if name not in contents}
    files = {name: file for name, file in found.items() if file is not None}
    known_at = cache / "inventory" / f"{digest(str(root.resolve()))}.json"
    total = hashlib.blake2b(digest_size=16)
    contents |= kept_hashes(files, known_at, hash_file)
    for name in places:
        if content := contents.get(name):
            total.update(f"{name}\0{content}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def _file(path: str) -> tuple[str, os.stat_result] | None:
    """A regular file as the disk spells it, and its entry."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # not there, or no possible name
        spelt = str(on_disk(Path(path)))
        return _file(spelt) if spelt != path else None
    return (path, status) if stat.S_ISREG(status.st_mode) else None


def place_of(corpus: Mapping[str, Any], data_root: Path, *endings: str) -> Path:
    """The corpus's `path`, as the disk spells it. Where that is an address, a path of copies: the objects ADDRESS + ending
    have been fetched as far as they are there, and for an ending / the names of all that lies below are known. Without
    endings, the object itself, or the names in the folder. What is read later is fetched by `remote.fetch`."""
    if is_address(corpus["path"]):
        return remote.brought(corpus["path"], endings or ("",))
    return on_disk(data_root / corpus["path"])


def under(root: Path, name: str) -> Path:
    """What a table in `root` means by a name: a path from there, an absolute one, or an address. Raises Secret for an address
    that may hold something secret."""
    if is_address(name):
        try:
            return remote.view(name)
        except Secret:
            raise
        except ConsommeError:
            pass  # no file
    return root / name


def is_there(path: Path) -> bool:
    """Whether it is a file, on the disk or in a store."""
    return path.is_file() or (remote.viewed(path) and path.is_symlink())


def _name_from(root: Path, path: Path) -> str:
    """A path as a name from `root`: the same on all machines for what lies in a store."""
    if path.is_relative_to(root):
        return str(path.relative_to(root))
    return remote.address_of(path) if remote.viewed(path) else str(path.absolute())


def on_disk(path: Path) -> Path:
    """The path as the disk spells it. Names with marks may lie there in another normal form than they are written in
    (macOS makes é two characters); where there are none like that, it is the path itself."""
    text = str(path)
    if text.isascii() or path == path.parent or os.path.lexists(text):
        return path
    parent = on_disk(path.parent)
    try:
        names = _spellings(str(parent), os.stat(parent).st_mtime_ns)
    except (OSError, ValueError):
        return path
    return parent / names.get(nfc(path.name), path.name)


@functools.lru_cache(maxsize=64)
def _spellings(folder: str, _changed: int) -> dict[str, str]:
    """NFC -> name, of a folder's names that aren't plain ASCII."""
    return {nfc(name): name for name in os.listdir(folder) if not name.isascii()}


def language_columns(corpus: Mapping[str, Any], task: str) -> dict[str, str]:
    """Role -> the table's column, for the columns of languages that the corpus names: only those count, because a table's
    own `language` may hold anything."""
    named = corpus.get("columns") or {}
    return {role: column for role in LANGUAGES[task] if (column := named.get(role))}


def named_languages(corpus: Mapping[str, Any], task: str) -> list[str]:
    """The languages that the corpus names for all of its rows; empty where it names none."""
    if task == "nmt":
        return list(corpus.get("languages") or ())
    return [corpus["language"]] if corpus.get("language") else []


class NotText(Exception):
    """A cell that holds something else than text."""


def text_of(value: Any) -> str | None:
    """A cell as text; an absent or empty one as None. Numbers are spelt out. Raises NotText for anything else, such as true,
    NaN or a list."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) == math.inf:
        raise NotText(f"{shown(value)}, and not text")
    return str(value)


def by_of(corpus: Mapping[str, Any]) -> list[str]:
    """The columns whose values are kept for the report, in NFC."""
    return [nfc(column) for column in corpus.get("by") or ()]


def where_of(corpus: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that a corpus asks for, in NFC, and what it wants of each."""
    return {nfc(column): wanted for column, wanted in (corpus.get("where") or {}).items()}


def kept(fields: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    """Whether `where`, as of `where_of`, keeps a row as far as these columns of it tell."""
    return not where or all(meets(fields[column], wanted) for column, wanted in where.items() if column in fields)


def meets(value: Any, wanted: Any) -> bool:
    """Whether a column's value is one that `where` wants: in a list, or in {from, to}, both ends included. Texts are the
    same in whatever normal form they are written."""
    if isinstance(wanted, Mapping):
        try:
            number = int(value)
        except (TypeError, ValueError, OverflowError):  # OverflowError: JSON has Infinity
            return False
        return wanted.get("from", number) <= number <= wanted.get("to", number)
    return nfc(str(value)) in {nfc(str(w)) for w in (wanted if isinstance(wanted, list | tuple) else [wanted])}
