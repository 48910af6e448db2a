"""Parts of a corpus: rows that other jobs checked ahead of the one that prepares it, and how they lie on disk.

A part is a folder: rows.arrow has its good rows as a prepared corpus stores them; checked.arrow names every row that was
checked, by number and id, with what is wrong with it; prepared.json, written last, says of what content all that is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from consomme.common.digest import digest
from consomme.common.errors import ConsommeError
from consomme.common.files import write_json
from consomme.common.log import say
from consomme.data import remote
from consomme.data.check import Checked
from consomme.data.prepared import BATCH_ROWS, Corpus, Writer
from consomme.data.sources import Raw

ROWS, CHECKED, MARKER = "rows.arrow", "checked.arrow", "prepared.json"
# problem: [reason, detail] as JSON, which keeps halves of characters; null of a good row
SCHEMA = pa.schema([("number", pa.int64()), ("id", pa.string()), ("problem", pa.string())])


def write_part(
    folder: Path, checked: Iterable[tuple[int, Checked]], task: str, schema: pa.Schema, identity: Mapping[str, Any]
) -> tuple[int, int]:
    """Write checked rows, each with its number, into `folder`. identity: of the content that they were read from. Returns how
    many there are, and how many of them are bad."""
    waiting: list[tuple[int, str, str | None]] = []
    count = bad = 0
    with (
        Writer(folder / ROWS, task, schema) as rows,
        pa.OSFile(str(folder / CHECKED), "wb") as sink,
        pa.ipc.new_file(sink, SCHEMA) as writer,
    ):
        for number, (row_id, row, problem) in checked:
            if row is not None:
                rows.add(row)
            elif problem:
                problem = problem[0], remote.with_addresses(problem[1])  # the copy of a store is this machine's
            waiting.append((number, row_id, None if row is not None else json.dumps(problem)))
            count, bad = count + 1, bad + (row is None)
            if len(waiting) == BATCH_ROWS:
                writer.write_batch(_batch(waiting))
                waiting = []
        writer.write_batch(_batch(waiting))
    write_json(folder / MARKER, {"task": task, "name": "part", "fingerprint": "", "of": digest(identity)})
    return count, bad


def _batch(rows: list[tuple[int, str, str | None]]) -> pa.RecordBatch:
    columns = [[row[k] for row in rows] for k in range(len(SCHEMA))]
    return pa.record_batch([*map(pa.array, columns, SCHEMA.types)], schema=SCHEMA)


class Part:
    """A part, memory-mapped. Raises ConsommeError, OSError or ValueError where it can't be read."""

    def __init__(self, folder: Path) -> None:
        self.rows = Corpus.open(folder)
        self.of = self.rows.about.get("of")
        table = pa.ipc.open_file(pa.memory_map(str(folder / CHECKED))).read_all()
        self._ids, self._problems = table.column("id"), table.column("problem")
        numbers = table.column("number").to_numpy()
        self._order = np.argsort(numbers, kind="stable")
        self._numbers = numbers[self._order]
        self._places = np.cumsum(self._problems.is_null().to_numpy()) - 1  # of good rows in rows.arrow

    def place(self, raw: Raw) -> int | None:
        """Where this row stands among the checked ones; None if it isn't there."""
        at = int(np.searchsorted(self._numbers, raw.number))
        if at == len(self._numbers) or self._numbers[at] != raw.number:
            return None
        place = int(self._order[at])
        return place if self._ids[place].as_py() == raw.id else None

    def checked(self, place: int) -> Checked:
        """What was found in that place."""
        row_id, problem = self._ids[place].as_py(), self._problems[place].as_py()
        if problem is None:
            return row_id, self.rows.row(int(self._places[place])), None
        reason, detail = json.loads(problem)
        return row_id, None, (reason, detail)


class Ahead:
    """The parts of a corpus. part_of: number of a row -> its part. What none of them has is to be checked."""

    def __init__(self, parts: Mapping[int, Part], part_of: Callable[[int], int]) -> None:
        self.parts, self.part_of = parts, part_of
        self.taken = self.missed = 0  # rows that were found here, and that were not

    @classmethod
    def open(cls, folder: Path, part_of: Callable[[int, int], int], identity: Mapping[str, Any]) -> Ahead | None:
        """The parts in `folder`, COUNT/PART, as far as they are whole and of this content; None if there are none."""
        count, wanted, parts = int(folder.name), digest(identity), dict[int, Part]()
        for number in range(1, count + 1):
            place = folder / str(number)
            try:
                part = Part(place)
            except (ConsommeError, OSError, ValueError) as error:
                say(f"caution: {place} can't be read, and its rows are checked here: {error}")
                continue
            if part.of == wanted:
                parts[number] = part
            else:
                say(f"caution: {place} is of other data than there is now, and its rows are checked here")
        return cls(parts, lambda number: part_of(number, count)) if parts else None

    def has(self, raw: Raw) -> bool:
        """Whether this row was checked."""
        part = self.parts.get(self.part_of(raw.number))
        return part is not None and part.place(raw) is not None

    def before(self, check: Callable[[Raw], Checked]) -> Callable[[Raw], Checked]:
        """What gives the found result of a row, or that of `check` where there is none."""

        def found(raw: Raw) -> Checked:
            part = self.parts.get(self.part_of(raw.number))
            place = part.place(raw) if part else None
            if part is None or place is None:
                self.missed += 1
                return check(raw)
            self.taken += 1
            return part.checked(place)

        return found
