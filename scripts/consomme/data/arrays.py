"""Arrays of the rows of prepared corpora, such as model inputs: computed once and kept in one memory-mapped file, or computed
anew at each use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np

from consomme.common.errors import ConsommeError, Unusable
from consomme.common.files import read_json, remove_left_over, whole_folder, write_json
from consomme.common.log import say
from consomme.common.once import alone


class Store(Protocol):
    """The arrays of one corpus. kept: whether reading them takes no work; lengths: of each, int64 [rows]; problems: row ->
    (reason, detail), for those that can't be made."""

    kept: bool
    lengths: np.ndarray

    @property
    def problems(self) -> Mapping[int, tuple[str, str]]: ...

    def __getitem__(self, row: int) -> np.ndarray: ...


class Stored:
    """Arrays on disk: row n is values[offsets[n] : offsets[n + 1]]."""

    kept = True

    def __init__(self, place: Path) -> None:
        about = read_json(place / "about.json")
        shape, dtype = tuple(about["shape"]), np.dtype(about["dtype"])
        # a file of no bytes can't be mapped
        mapped = np.memmap(place / "values.bin", dtype, "r", shape=shape) if np.prod(shape) else np.zeros(shape, dtype)
        self.values, self.offsets = np.asarray(mapped), np.load(place / "offsets.npy")
        self.lengths = np.diff(self.offsets)
        told = read_json(place / "problems.json") if (place / "problems.json").exists() else {}
        self.problems = {int(row): (reason, detail) for row, (reason, detail) in told.items()}

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.offsets[row] : self.offsets[row + 1]]


class Arrays(Sequence[np.ndarray]):
    """The arrays of a sequence of rows: row i has number[i] of stores[store[i]]. Stored ones are read-only views of a file.
    Those that can't be made are empty."""

    def __init__(self, stores: Sequence[Store], store: np.ndarray, number: np.ndarray) -> None:
        self._stores, self._store, self._number = stores, store, number

    def __len__(self) -> int:
        return len(self._number)

    @overload
    def __getitem__(self, i: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, i: slice) -> Arrays: ...
    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return Arrays(self._stores, self._store[i], self._number[i])
        return self._stores[self._store[i]][int(self._number[i])]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))

    @property
    def lengths(self) -> np.ndarray:
        """The length of each, int64 [rows]."""
        found = np.zeros(len(self), np.int64)
        for which, store in enumerate(self._stores):
            found[at] = store.lengths[self._number[at := self._store == which]]
        return found

    @property
    def kept(self) -> bool:
        """Whether reading them takes no work."""
        return all(store.kept for store in self._stores)

    @cached_property
    def problems(self) -> dict[int, tuple[str, str]]:
        """Those that can't be made: place -> the reason in a few words, and what is wrong with this one."""
        found = {(s, n): what for s, store in enumerate(self._stores) for n, what in store.problems.items()}
        places = enumerate(zip(self._store, self._number, strict=True)) if found else ()
        return {i: found[place] for i, place in places if place in found}


def stored(place: Path, names: Sequence[str], make: Callable[[int], np.ndarray], what: str) -> Stored:
    """The arrays `make(row)` of rows of these names, from the folder `place`; made there where they aren't yet. `make` raises
    Unusable for those that can't be made. what: they are, for the log and errors. Processes that want the same wait for each
    other."""
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with alone(Path(f"{place}.lock")) as locked:
            if not place.exists():
                if locked:
                    remove_left_over(place)
                with whole_folder(place) as folder:
                    _fill(folder, names, make, what)
                say(f"{what}: {len(names)} rows in {place}")
    return Stored(place)


def _fill(folder: Path, names: Sequence[str], make: Callable[[int], np.ndarray], what: str) -> None:
    sizes, like, problems = [], None, {}
    with open(folder / "values.bin", "wb") as stream, one_thread():
        for i, name in enumerate(names):
            try:
                value = np.ascontiguousarray(make(i))
            except Unusable as error:
                problems[i] = error.reason, str(error)
                sizes.append(0)
                continue
            except Exception as error:
                error.add_note(f"This was row '{name}'.")
                raise
            if like is None:
                like = (value.dtype, value.shape[1:])
            if (value.dtype, value.shape[1:]) != like:
                raise ConsommeError(
                    f"{what}: row '{name}' has {value.dtype} {value.shape}, those before {like[0]} [*, {like[1]}]"
                )
            sizes.append(len(value))
            stream.write(value.data if value.size else b"")
    np.save(folder / "offsets.npy", np.cumsum([0, *sizes], dtype=np.int64))
    dtype, shape = like or (np.dtype(np.int64), ())
    write_json(folder / "about.json", {"dtype": dtype.str, "shape": [sum(sizes), *shape], "rows": len(sizes)})
    if problems:
        write_json(folder / "problems.json", {str(row): told for row, told in problems.items()})


@contextlib.contextmanager
def one_thread() -> Generator[None]:
    """Inside of this torch has one thread: with several, sums may come out otherwise, and arrays would depend on which job
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
