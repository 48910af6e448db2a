"""Model inputs of prepared corpora: computed once for each processor, frames or token ids in one memory-mapped file; or, where
a corpus doesn't keep its samples, each anew whenever it is needed."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np

from consomme.common.digest import digest
from consomme.common.errors import ConsommeError, Unusable
from consomme.common.files import read_json, remove_left_over, whole_folder, write_json
from consomme.common.log import say
from consomme.common.once import alone
from consomme.data.prepared import Corpus, Rows
from consomme.data.waveforms import is_kept
from consomme.families.base import Family
from consomme.families.positions import most_tokens

VERSION = 3
ENOUGH = 16000  # samples that every family takes


class Store(Protocol):
    """The inputs of one corpus. lengths: frames, samples or tokens of each, int64 [rows]; problems: row -> (reason, detail)."""

    lengths: np.ndarray

    @property
    def problems(self) -> Mapping[int, tuple[str, str]]: ...

    def __getitem__(self, row: int) -> np.ndarray: ...


class Stored:
    """Inputs on disk: row n is values[offsets[n] : offsets[n + 1]]."""

    def __init__(self, offsets: np.ndarray, values: np.ndarray, problems: Mapping[int, tuple[str, str]]) -> None:
        self.offsets, self.values, self.problems = offsets, values, problems
        self.lengths = np.diff(offsets)

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.offsets[row] : self.offsets[row + 1]]


class Computed:
    """Inputs that are computed at each use, of a family that tells their lengths from those of the waveforms."""

    def __init__(self, family: Family, processor: Any, rows: Rows, languages: Sequence[str]) -> None:
        self.make = functools.partial(family.whole, processor)
        self.rows, self.spoken = rows, rows.languages(languages)
        self.lengths = np.zeros(len(rows), np.int64)
        self.problems: dict[int, tuple[str, str]] = {}
        for i, samples in enumerate(np.rint(rows.seconds * (rows.sampling_rate or 0)).astype(int).tolist()):
            try:
                self.lengths[i] = family.length(processor, samples)
            except Unusable as error:
                self.problems[i] = error.reason, str(error)

    def __getitem__(self, row: int) -> np.ndarray:
        if row in self.problems:
            return np.zeros(0, np.float32)
        with _one_thread():
            return np.ascontiguousarray(self.make(self.rows.source(row), self.spoken[row]))


@contextlib.contextmanager
def _one_thread() -> Generator[None]:
    """Inside of this torch has one thread: with several, sums may come out otherwise, and features would depend on which job
    computes them."""
    import torch

    before = torch.get_num_threads()
    if before > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if before > 1:
            torch.set_num_threads(before)


class Features(Sequence[np.ndarray]):
    """The inputs of a sequence of rows: asr [time, bins] or [samples] float32, nmt [tokens] int64. Stored ones are read-only
    views of a memory-mapped file. Those of a row that the family can't take are empty."""

    def __init__(self, stores: Sequence[Store], store: np.ndarray, number: np.ndarray) -> None:
        self._stores, self._store, self._number = stores, store, number

    def __len__(self) -> int:
        return len(self._number)

    @overload
    def __getitem__(self, i: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, i: slice) -> Features: ...
    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return Features(self._stores, self._store[i], self._number[i])
        return self._stores[self._store[i]][int(self._number[i])]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))

    @property
    def lengths(self) -> np.ndarray:
        """Frames, samples or tokens of each input, int64 [rows]."""
        sizes = [store.lengths for store in self._stores]
        return np.array([sizes[s][n] for s, n in zip(self._store, self._number, strict=True)], dtype=np.int64)

    @property
    def computed(self) -> bool:
        """Whether some of them take work at each use."""
        return any(isinstance(store, Computed) for store in self._stores)

    @cached_property
    def problems(self) -> dict[int, tuple[str, str]]:
        """The rows that the family can't take: place -> the reason in a few words, and what is wrong with this one."""
        found = {(s, n): what for s, store in enumerate(self._stores) for n, what in store.problems.items()}
        places = enumerate(zip(self._store, self._number, strict=True)) if found else ()
        return {i: found[place] for i, place in places if place in found}


def features_of(
    family: Family, processor: Any, rows: Rows, cache: Path, processor_key: str, languages: Sequence[str] = ()
) -> Features:
    """The model inputs of `rows`, in their order, from `cache`/features; computed where they aren't there yet. Those of a
    corpus that doesn't keep its samples are not kept either, as they take as much disk, unless the family can't tell how
    long they will be.

    languages: of rows without their own. Features are kept by the fingerprint of each corpus, `processor_key` (whatever
    identifies the processor's files and the family), the corpus's languages if the family's features depend on them, the
    most tokens of a sentence and this module's version, always for whole corpora, so that every share and selection of one
    finds them.
    Processes that want the same ones wait for each other. Raises ConsommeError where the sampling rates differ."""
    _check_rate(processor, rows)
    stores: list[Store] = []
    store, number = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    for corpus, at, rows_of_it in rows.parts():
        if corpus.audio is not None and corpus.numbers is not None:
            # a model's labels change no waveform
            corpus, rows_of_it = corpus.audio, corpus.numbers[rows_of_it]
        store[at], number[at] = len(stores), rows_of_it
        if corpus.waveform is None or is_kept(corpus.table) or family.length(processor, ENOUGH) is None:
            stores.append(_open(_store(family, processor, corpus, Path(cache), processor_key, languages)))
        else:
            stores.append(Computed(family, processor, Rows([corpus]), languages))
    return Features(stores, store, number)


def _store(
    family: Family, processor: Any, corpus: Corpus, cache: Path, processor_key: str, languages: Sequence[str]
) -> Path:
    most = [most_tokens(processor, "source")] if corpus.about["task"] == "nmt" else []
    spoken = corpus.languages(languages) if family.languages else []
    told = [sorted(set(spoken))] if spoken else []  # which row has which is in the fingerprint
    place = cache / "features" / digest([corpus.about["fingerprint"], processor_key, VERSION, *most, *told], 16)
    if place.exists():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with alone(Path(f"{place}.lock")) as locked:
        if not place.exists():
            if locked:
                remove_left_over(place)
            with whole_folder(place) as folder:
                _fill(folder, family, processor, Rows([corpus]), languages)
            say(f"features of '{corpus.name}' for {family.name}: {corpus.table.num_rows} rows in {place}")
    return place


def _fill(folder: Path, family: Family, processor: Any, rows: Rows, languages: Sequence[str]) -> None:
    sizes, like, problems, spoken = [], None, {}, rows.languages(languages)
    with open(folder / "values.bin", "wb") as stream, _one_thread():
        for i in range(len(rows)):
            try:
                value = np.ascontiguousarray(family.whole(processor, rows.source(i), spoken[i]))
            except Unusable as error:
                problems[i] = error.reason, str(error)
                sizes.append(0)
                continue
            except Exception as error:
                error.add_note(f"This was row '{rows.ids[i]}'.")
                raise
            if like is None:
                like = (value.dtype, value.shape[1:])
            if (value.dtype, value.shape[1:]) != like:
                raise ConsommeError(
                    f"features of row '{rows.ids[i]}' are {value.dtype} {value.shape}, those before {like[0]} [*, {like[1]}]"
                )
            sizes.append(len(value))
            stream.write(value.data if value.size else b"")
    np.save(folder / "offsets.npy", np.cumsum([0, *sizes], dtype=np.int64))
    dtype, shape = like or (np.dtype(np.int64), ())
    write_json(folder / "about.json", {"dtype": dtype.str, "shape": [sum(sizes), *shape], "rows": len(sizes)})
    if problems:
        write_json(folder / "problems.json", {str(row): what for row, what in problems.items()})


def _open(place: Path) -> Stored:
    about = read_json(place / "about.json")
    shape, dtype = tuple(about["shape"]), np.dtype(about["dtype"])
    # a file of no bytes can't be mapped
    values = np.memmap(place / "values.bin", dtype, "r", shape=shape) if np.prod(shape) else np.zeros(shape, dtype)
    told = read_json(place / "problems.json") if (place / "problems.json").exists() else {}
    problems = {int(row): (reason, detail) for row, (reason, detail) in told.items()}
    return Stored(np.load(place / "offsets.npy"), np.asarray(values), problems)


def usable(
    family: Family, processor: Any, rows: Rows, numbers: Iterable[int], languages: Sequence[str]
) -> Iterator[tuple[int, np.ndarray]]:
    """The model inputs of some rows, computed one by one without a cache; those that the family can't take are left out.
    languages: of rows without their own."""
    spoken = rows.languages(languages)
    for i in numbers:
        try:
            value = family.features(processor, rows.source(i), spoken[i])
        except Unusable:
            continue
        yield i, value


def _check_rate(processor: Any, rows: Rows) -> None:
    if rows.task != "asr":
        return
    rate = getattr(getattr(processor, "feature_extractor", processor), "sampling_rate", None)
    if rate is not None and rate != rows.sampling_rate:
        raise ConsommeError(
            f"the processor wants {rate} Hz, the corpus was prepared at {rows.sampling_rate} Hz; set the corpus's "
            f"sampling_rate to {rate}"
        )
