"""Prepared corpora: how they lie on disk, and `Rows`, one or several of them read as one sequence."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from consomme.common.digest import digest
from consomme.common.errors import ConsommeError
from consomme.common.evidence import KINDS
from consomme.common.files import read_json
from consomme.data import waveforms
from consomme.data.sources.base import LANGUAGES

VERSION = 1
COMMON = [
    ("id", pa.string()),
    ("speaker", pa.string()),
    ("document", pa.string()),
    ("recordings", pa.list_(pa.string())),
]
OWN = {
    "asr": [
        ("seconds", pa.float64()),
        ("text", pa.string()),
        ("audio_hash", pa.string()),
    ],
    "nmt": [("source", pa.string()), ("target", pa.string())],
}
# of a corpus that a model relabelled: the probability per token that it gave its own text, and, for speech, the number of
# the row in the file that holds the waveforms
MADE = {"asr": [("row", pa.int64()), ("confidence", pa.float64())], "nmt": [("confidence", pa.float64())]}
KEPT = frozenset(name for way in waveforms.TABLE.values() for name in way.columns)  # columns of one way to keep audio
# audio counts through its hash, and seconds follow from it; what a model thinks of its text is not the text
NO_CONTENT = KEPT | {"seconds", "row", "confidence"}
BY = "by:"  # begins the names of columns that are kept for the report alone, and are no content either
SIDES = ("source", "target")
AUDIO = "audio.arrow"
BATCH_BYTES = 1 << 25
BATCH_ROWS = 2048


def schema_of(
    task: str,
    languages: bool = False,
    relabelled: bool = False,
    by: Sequence[str] = (),
    keep_audio: str = waveforms.DEFAULT,
) -> pa.Schema:
    """The columns of a prepared corpus. languages: whether each row has its own; relabelled: made by a model; by: names of
    columns of its source that are kept for the report; keep_audio: how its waveforms are kept, of `waveforms.TABLE`."""
    audio = waveforms.TABLE[keep_audio].columns.items() if task == "asr" else ()
    own = [*OWN[task], *(MADE[task] if relabelled else audio)]
    kept = [(f"{BY}{name}", pa.string()) for name in by]
    return pa.schema([*COMMON, *kept, *((name, pa.string()) for name in LANGUAGES[task] if languages), *own])


class Writer:
    """Writes rows to an Arrow IPC file, batch by batch, and takes the fingerprint of what it writes.

    A row is a dict with the schema's names; `audio`, if it has one, is an int16 array [samples]."""

    def __init__(self, path: Path, task: str, schema: pa.Schema | None = None) -> None:
        self.schema = schema or schema_of(task)
        self.task = task
        self.rows, self.seconds = 0, 0.0
        self._hash, self._by = hashlib.blake2b(digest_size=16), hashlib.blake2b(digest_size=16)
        self._waiting: list[dict[str, Any]] = []
        self._bytes = 0
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, self.schema)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[0] is None:
            self._flush()
        self._writer.close()
        self._sink.close()

    def add(self, row: Mapping[str, Any]) -> None:
        """Append one row."""
        self._waiting.append(dict(row))
        self._bytes += row["audio"].nbytes if "audio" in row else len(row.get("flac", b""))
        self.rows += 1
        self.seconds += row.get("seconds", 0.0)
        content = [row[n] for n in self.schema.names if n not in NO_CONTENT and not n.startswith(BY)]
        self._hash.update(digest(content, 32).encode())
        if by := [row[n] for n in self.schema.names if n.startswith(BY)]:
            self._by.update(digest(by, 32).encode())
        if self._bytes >= BATCH_BYTES or len(self._waiting) >= BATCH_ROWS:
            self._flush()

    def fingerprint(self, sampling_rate: int | None = None, languages: Sequence[str] = ()) -> str:
        """A hash of the contents of the rows so far, in their order. sampling_rate: asr, Hz; languages: of all rows, where
        the corpus names them."""
        rate, own = sampling_rate if self.task == "asr" else None, [list(languages)] if languages else []
        return digest([self.task, rate, self._hash.hexdigest(), *own], 32)

    @property
    def by(self) -> str:
        """A hash of what the rows so far have in the columns that are kept for the report, which the fingerprint leaves out."""
        return self._by.hexdigest()

    def _flush(self) -> None:
        if not self._waiting:
            return
        columns = []
        for column in self.schema:
            cells = [row[column.name] for row in self._waiting]
            if column.name == "audio":
                offsets = np.cumsum([0, *map(len, cells)], dtype=np.int64)
                columns.append(pa.LargeListArray.from_arrays(offsets, pa.array(np.concatenate(cells), pa.int16())))
            else:
                columns.append(pa.array(cells, column.type))
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self.schema))
        self._waiting, self._bytes = [], 0


@dataclass(frozen=True)
class Corpus:
    """One prepared corpus, memory-mapped. `about` is its prepared.json.

    A relabelled corpus has no waveforms of its own: they are in `audio`, the corpus that was relabelled, in the rows
    `numbers`."""

    name: str
    about: Mapping[str, Any]
    table: pa.Table
    waveform: waveforms.Waveform | None = None
    audio: Corpus | None = None
    numbers: np.ndarray | None = None

    @classmethod
    def open(cls, folder: Path, name: str | None = None) -> Corpus:
        """Raises ConsommeError where the folder is no prepared corpus."""
        try:
            about = read_json(folder / "prepared.json")
            whole = cls._read(folder / "rows.arrow", about, name or about["name"])
            if "audio" not in about:
                return whole
            audio = cls._read(folder / AUDIO, {**about, **about["audio"]}, about["audio"]["name"])
        except (OSError, ValueError) as error:
            raise ConsommeError(
                f"{folder} is no prepared corpus ({error}); `python -m consomme.data` makes one"
            ) from None
        return dataclasses.replace(whole, audio=audio, numbers=whole.table.column("row").to_numpy())

    @classmethod
    def _read(cls, path: Path, about: Mapping[str, Any], name: str) -> Corpus:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        return cls(name, about, table, waveforms.reader_of(table, about.get("sampling_rate")))

    def swapped(self) -> Corpus:
        """nmt: the same sentence pairs from the other side; targets are to be translated."""
        names = dict(zip(SIDES, SIDES[::-1], strict=True))
        names |= dict(zip(LANGUAGES["nmt"], LANGUAGES["nmt"][::-1], strict=True))
        table = self.table.rename_columns([names.get(n, n) for n in self.table.column_names])
        about = {**self.about, "fingerprint": digest([self.about["fingerprint"], "swapped"], 32)}
        if "languages" in about:
            about["languages"] = about["languages"][::-1]
        return dataclasses.replace(self, about=about, table=table)

    def languages(self, default: Sequence[str] = ()) -> list[tuple[str, ...]]:
        """The languages of each row, as in `Rows.languages`."""
        columns = LANGUAGES[self.about["task"]]
        if columns[0] in self.table.column_names:
            return list(zip(*map(self.column, columns), strict=True))
        return [tuple(self.about.get("languages") or default)] * self.table.num_rows

    def samples(self, row: int) -> np.ndarray:
        """The waveform of a row: int16 [samples], perhaps a read-only view of the file. Raises ConsommeError where it is kept
        in place, and isn't there any more."""
        if self.audio is not None and self.numbers is not None:
            return self.audio.samples(int(self.numbers[row]))
        assert self.waveform is not None  # speech has one
        return self.waveform(row)

    def column(self, name: str) -> list[Any]:
        """A column as Python values."""
        return self.table.column(name).to_pylist()

    def row(self, number: int) -> dict[str, Any]:
        """A row as `Writer.add` takes it; its waveform is a view of the file."""
        cells = {name: self.table.column(name)[number].as_py() for name in self.table.column_names if name != "audio"}
        return cells | ({"audio": self.samples(number)} if "audio" in self.table.column_names else {})


class Rows:
    """Rows of one or several prepared corpora as one sequence; nothing is read before it is asked for.

    Where there are several corpora, ids are "CORPUS:id"."""

    def __init__(self, corpora: Sequence[Corpus], index: np.ndarray | None = None) -> None:
        self._corpora = list(corpora)
        self._starts = np.cumsum([0, *(c.table.num_rows for c in corpora)])
        self._index = index  # positions in the corpora's concatenation; None: all of them
        self.task: str = corpora[0].about["task"]
        self.sampling_rate: int | None = corpora[0].about.get("sampling_rate")
        for other in corpora[1:]:
            for key in ("task", "sampling_rate"):
                ours, theirs = corpora[0].about.get(key), other.about.get(key)
                if ours != theirs:
                    raise ConsommeError(
                        f"corpora that don't go together: {key} is {ours} in '{corpora[0].name}', {theirs} in '{other.name}'"
                    )

    @classmethod
    def open(cls, folders: Mapping[str, Path | str] | Iterable[Path | str]) -> Rows:
        """Open prepared corpora: name -> folder, or folders, which then have the names they were prepared under."""
        if isinstance(folders, str | Path):
            folders = [folders]
        if isinstance(folders, Mapping):
            corpora = [Corpus.open(Path(folder), str(name)) for name, folder in folders.items()]
        else:
            corpora = [Corpus.open(Path(folder)) for folder in folders]
        if not corpora:
            raise ConsommeError("no prepared corpus was given")
        return cls(corpora)

    def __len__(self) -> int:
        return int(self._starts[-1]) if self._index is None else len(self._index)

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the contents: equal contents, equal fingerprint, wherever they lie."""
        whole = [c.about["fingerprint"] for c in self._corpora]
        if self._index is not None:
            return digest([whole, hashlib.blake2b(self._index.astype("<i8").tobytes()).hexdigest()], 32)
        return whole[0] if len(whole) == 1 else digest(whole, 32)

    @property
    def reported_by(self) -> list[str]:
        """Hashes of the columns that are kept for the report, of the corpora that have any."""
        return [c.about["by"] for c in self._corpora if "by" in c.about]

    def parts(self) -> list[tuple[Corpus, np.ndarray, np.ndarray]]:
        """For each corpus: it, the places of its rows in this sequence, and their numbers in the corpus."""
        corpus, number = self._places
        return [(c, (at := np.flatnonzero(corpus == k)), number[at]) for k, c in enumerate(self._corpora)]

    @functools.cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        index = np.arange(self._starts[-1]) if self._index is None else self._index
        corpus = np.searchsorted(self._starts, index, side="right") - 1
        return corpus, index - self._starts[corpus]

    def _column(self, name: str) -> list[Any]:
        if self._index is None:
            return [value for c in self._corpora for value in c.column(name)]
        values: list[Any] = [None] * len(self)
        for corpus, places, numbers in self.parts():
            for place, value in zip(places, corpus.table.column(name).take(numbers).to_pylist(), strict=True):
                values[place] = value
        return values

    # -- one row ---------------------------------------------------------------------------------------------------
    def audio(self, i: int) -> np.ndarray:
        """The waveform of row `i`: float32 [samples] in -1..1 at `sampling_rate` Hz. A copy: change it at will."""
        corpus, number = self._places
        return self._corpora[corpus[i]].samples(int(number[i])).astype(np.float32) / np.float32(32768)

    def source(self, i: int) -> np.ndarray | str:
        """The model's input of row `i`: the waveform, or the sentence to translate."""
        return self.audio(i) if self.task == "asr" else self.sources[i]

    def target(self, i: int) -> str:
        """The wanted output of row `i`: the transcript, or the translation."""
        return self.targets[i]

    # -- all rows --------------------------------------------------------------------------------------------------
    @functools.cached_property
    def ids(self) -> list[str]:
        """Unique names of the rows."""
        ids = self._column("id")
        return ids if len(self._corpora) == 1 else [f"{c}:{i}" for c, i in zip(self.corpora, ids, strict=True)]

    @functools.cached_property
    def corpora(self) -> list[str]:
        """The name of the corpus that each row stands in."""
        return [self._corpora[k].name for k in self._places[0]]

    @functools.cached_property
    def targets(self) -> list[str]:
        """Transcripts or translations."""
        return self._column("text" if self.task == "asr" else "target")

    @functools.cached_property
    def sources(self) -> list[str]:
        """nmt: the sentences to translate."""
        if self.task != "nmt":
            raise ConsommeError("rows of speech have waveforms, rows.audio(i), and no source sentences")
        return self._column("source")

    def languages(self, default: Sequence[str] = ()) -> list[tuple[str, ...]]:
        """The languages of each row: (spoken,), or (source, target). `default`, the experiment's, for the rows of corpora
        that don't name theirs."""
        found: list[tuple[str, ...]] = [()] * len(self)
        for corpus, places, numbers in self.parts():
            own = corpus.languages(default)
            for place, number in zip(places, numbers, strict=True):
                found[place] = own[number]
        return found

    def written(self, default: Sequence[str] = ()) -> list[str]:
        """The language of each row's target; empty where it isn't known."""
        return [spoken[-1] if spoken else "" for spoken in self.languages(default)]

    @functools.cached_property
    def untagged(self) -> list[str]:
        """nmt: the sources without the word that tells made rows from others."""
        return [source.removeprefix(self.tag(i)) for i, source in enumerate(self.sources)]

    def tag(self, i: int) -> str:
        """The word that tells a made row from others, with the space behind it; empty for other rows and for speech."""
        tag = self._corpora[self._places[0][i]].about.get("tag") if self.task == "nmt" else None
        return f"{tag} " if tag else ""

    @functools.cached_property
    def seconds(self) -> np.ndarray:
        """asr: durations in seconds, float64 [rows]."""
        return np.asarray(self._column("seconds"), dtype=np.float64)

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """How long the inputs are, float64 [rows]: seconds, or characters of the source."""
        return self.seconds if self.task == "asr" else np.array([len(s) for s in self.sources], dtype=np.float64)

    @functools.cached_property
    def audio_hashes(self) -> list[str]:
        """asr: a hash of each waveform."""
        return self._column("audio_hash")

    @functools.cached_property
    def speakers(self) -> list[str | None]:
        """The speaker of each row, where known."""
        return self._column("speaker")

    def by(self, column: str) -> list[str | None]:
        """What each row has in a column of its source that was kept for the report; None where that isn't known."""
        found: list[str | None] = [None] * len(self)
        for corpus, places, numbers in self.parts():
            if f"{BY}{column}" in corpus.table.column_names:
                values = corpus.table.column(f"{BY}{column}").take(numbers).to_pylist()
                for place, value in zip(places, values, strict=True):
                    found[place] = value
        return found

    @functools.cached_property
    def documents(self) -> list[str | None]:
        """The document of each row, where known."""
        return self._column("document")

    @functools.cached_property
    def recordings(self) -> list[list[str]]:
        """The source recordings that each row was made of, where known."""
        return self._column("recordings")

    @functools.cached_property
    def units(self) -> np.ndarray:
        """Rows that a choice doesn't take as independent of each other: `units_by("document")`."""
        return self.units_by("document")

    def units_by(self, kind: str) -> np.ndarray:
        """Rows that aren't independent of each other, int64 [rows]: the cluster of each row, numbered from 0 in order
        of first appearance. Rows that share a source recording, from the kind `document` on a document, and for the kind
        `speaker` a speaker, directly or through other rows, are one cluster; every other row is its own. What resamples has
        to resample clusters."""
        shared = [[("recording", name) for name in names] for names in self.recordings]
        for other in KINDS[1 : KINDS.index(kind) + 1]:
            for keys, name in zip(shared, self._of(other), strict=True):
                keys += [(other, name)] if name is not None else []
        return clusters(shared)

    def unit_word(self, kind: str) -> str:
        """What the clusters are, in the plural: the widest kind that is known of any row."""
        known = KINDS[1 : KINDS.index(kind) + 1]
        return next((f"{k}s" for k in reversed(known) if any(name is not None for name in self._of(k))), "rows")

    def _of(self, kind: str) -> list[str | None]:
        return self.speakers if kind == "speaker" else self.documents

    # -- fewer rows ------------------------------------------------------------------------------------------------
    def swapped(self) -> Rows:
        """nmt: the same rows with source and target changed about."""
        return Rows([corpus.swapped() for corpus in self._corpora], self._index)

    def select(self, indices: Sequence[int] | np.ndarray) -> Rows:
        """The rows at `indices` (0-based, or a mask), in that order."""
        indices = np.asarray(indices)
        if indices.dtype == bool:
            indices = np.flatnonzero(indices)
        indices = indices.astype(np.int64)
        return Rows(self._corpora, indices if self._index is None else self._index[indices])

    def share(self, fraction: float, seed: int = 0) -> Rows:
        """That fraction of the rows, at least one, drawn by a hash of seed and id, in their old order. Of one seed, a
        smaller share lies within every larger one."""
        if not 0 < fraction <= 1:
            raise ConsommeError(f"a share of {fraction} isn't possible; it has to be above 0 and at most 1")
        if fraction == 1:
            return self
        ranks = [hashlib.blake2b(f"{seed}:{i}".encode(), digest_size=8).digest() for i in self.ids]
        # the small number undoes what floating point adds: 0.3 of 10 is 3
        count = max(1, math.ceil(fraction * len(self) - 1e-9)) if len(self) else 0
        return self.select(np.sort(np.array(sorted(range(len(ranks)), key=ranks.__getitem__)[:count], dtype=np.int64)))


def extent(path: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """How much a corpus tells of models, for the plan, which can't open it: independent units by kind, words and characters
    of the targets. path: rows.arrow; about: what prepared.json will hold of it."""
    rows = Rows([Corpus._read(path, about, about["name"])])
    return {
        "units": {kind: int(rows.units_by(kind).max(initial=-1)) + 1 for kind in KINDS},
        "words": sum(len(target.split()) for target in rows.targets),
        "characters": sum(map(len, rows.targets)),
    }


def clusters(keys: Sequence[Sequence[Any]]) -> np.ndarray:
    """Connected components of items that share a key, by union-find: int64 [items], numbered by first appearance."""
    parent = list(range(len(keys)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    owner: dict[Any, int] = {}
    for i, shared in enumerate(keys):
        for key in shared:
            a, b = root(owner.setdefault(key, i)), root(i)
            parent[max(a, b)] = min(a, b)
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(root(i), len(numbers)) for i in range(len(keys))], dtype=np.int64)
