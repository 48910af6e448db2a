"""What a corpus source is, and the raw rows that it yields."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from consomme.common.digest import digest
from consomme.common.files import hash_file, read_json, write_json
from consomme.common.settings import Section
from consomme.data.sources.tables import foreign_encoding

if TYPE_CHECKING:
    import numpy as np

CACHE = Path("results/cache")
SETTLED = 2.0  # seconds: a file younger than that may change again without a new time stamp


class Audible(Protocol):
    """Audio that is made rather than read. Has to travel to another process."""

    def waveform(self) -> tuple[np.ndarray, int]:
        """Mono float32 [samples] in -1..1, and the rate in Hz."""


@dataclass(slots=True)
class Raw:
    """One row as the source has it. asr: `audio` (a file, an encoded file's bytes, or something audible) and `target`
    (the transcript); nmt: `source` and `target`. `fields` are the columns that `where` can ask for. A row that the
    source itself found unusable says so in `problem`, as (reason, detail)."""

    id: str
    target: str | None = None
    source: str | None = None
    audio: Path | bytes | Audible | None = None
    speaker: str | None = None
    document: str | None = None
    recordings: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    problem: tuple[str, str] | None = None


class Source:
    """A kind of corpus. Everything but `read` is called while planning: quick, and nothing heavy imported."""

    name: str = ""  # the word in configurations
    settings: type[Section] = Section  # the keys that a corpus has for it alone
    tasks: Sequence[str] = ("asr", "nmt")

    def unfit(self, corpus: Mapping[str, Any], task: str) -> tuple[str, str] | None:
        """The key that is in the way of an experiment of this task, and why; None where the corpus can serve it."""
        if task in self.tasks:
            return None
        others = ", ".join(self.tasks)
        return "source", f"'{self.name}' serves {others}, and the experiment's task is {task}"

    def files(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path) -> list[Path]:
        """The files that the preparation should be rerun for when they change."""
        return []

    def inventory(self, corpus: Mapping[str, Any], data_root: Path, cache: Path = CACHE) -> str:
        """For a source that is a folder: a hash of the names and bytes in it. Otherwise an empty string."""
        return ""

    def content(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path, cache: Path = CACHE) -> Any:
        """What identifies all that `read` will read: the same content, the same rows. JSON."""
        return [hash_file(p) for p in self.files(corpus, languages, data_root)] + [
            self.inventory(corpus, data_root, cache)
        ]

    def check(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path) -> list[str]:
        """What can be known to be wrong before any job starts, a sentence each."""
        files = self.files(corpus, languages, data_root)
        return [problem for path in files if (problem := _file_problem(path))]

    def read(self, corpus: Mapping[str, Any], task: str, languages: Sequence[str], data_root: Path) -> Iterator[Raw]:
        """The rows, in an order that depends on the corpus alone. Raises ConsommeError where nothing can be read."""
        raise NotImplementedError


class Numbered:
    """Ids for rows that are named by their recording: its name, then NAME#2, NAME#3 where more rows have it."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def __call__(self, name: str) -> str:
        self.seen[name] += 1
        return name if self.seen[name] == 1 else f"{name}#{self.seen[name]}"


def _file_problem(path: Path) -> str:
    if not path.is_file():
        return f"no file {path}"
    encoding = foreign_encoding(path)
    if encoding is None:
        return ""
    return f"{path} is {encoding}, and UTF-8 is wanted: convert it, for instance by iconv -f {encoding} -t UTF-8"


def inventory_of(paths: Iterable[Path], root: Path, cache: Path) -> str:
    """A hash of the names below `root` and the bytes of `paths`.

    The bytes' hashes are kept in one file of `cache` by size and time stamp, so that asking again costs a look at each
    file's entry; a touched file is read again and, its bytes being the same, changes nothing."""
    known_at = cache / "inventory" / f"{digest(str(root.resolve()))}.json"
    try:
        known = read_json(known_at)
    except (OSError, ValueError):
        known = {}
    hashes, total, now = {}, hashlib.blake2b(digest_size=16), time.time()
    for path in sorted(paths):
        name, status = path.relative_to(root).as_posix(), path.stat()
        stamp = [status.st_size, status.st_mtime_ns]
        entry = known.get(name)
        content = entry[2] if entry and entry[:2] == stamp else hash_file(path)
        if now - status.st_mtime > SETTLED:
            hashes[name] = [*stamp, content]
        total.update(f"{name}\0{content}\n".encode())
    missing = hashes.keys() - known.keys() or any(known[name] != entry for name, entry in hashes.items())
    if missing:
        # merged: another corpus may look at other files of the same folder
        write_json(known_at, known | hashes)
    return total.hexdigest()


def text_of(value: Any) -> str | None:
    """A cell as text; an absent or empty one as None."""
    return None if value is None or value == "" else str(value)


def meets(value: Any, wanted: Any) -> bool:
    """Whether a column's value is one that `where` wants: in a list, or in {from, to}, both ends included."""
    if isinstance(wanted, Mapping):
        try:
            number = int(value)
        except (TypeError, ValueError):
            return False
        return wanted.get("from", number) <= number <= wanted.get("to", number)
    return str(value) in {str(w) for w in (wanted if isinstance(wanted, list | tuple) else [wanted])}
