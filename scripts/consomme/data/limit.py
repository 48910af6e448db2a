"""`limit`: how many rows of a corpus are kept, after every other filter."""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from consomme.common.files import write_json
from consomme.data.prepared import Corpus, Writer


class Limit:
    """At most `most` rows, those whose ids have the lowest hashes: a smaller limit's rows are among a larger one's. With
    `first`, those that come first, and no more are read. A `most` of None keeps all.

    As soon as enough good rows are known, a row whose hash is too high needs no check: of a large corpus few rows are
    decoded."""

    def __init__(self, most: int | None, first: bool = False) -> None:
        self.most, self.first = most, first
        self._drawn: list[tuple[int, int, str]] = []  # a heap of -hash, -number, id: the next to go at its top

    def hopeless(self, row_id: str) -> bool:
        """Whether enough rows with lower hashes have been found."""
        if self.most is None or self.first or len(self._drawn) < self.most:
            return False
        return rank(row_id) > -self._drawn[0][0]

    def count(self, row_id: str, number: int = 0) -> str | None:
        """Note a good row. Returns the id of the one that goes for it, if there are more than are kept."""
        heapq.heappush(self._drawn, (-rank(row_id), -number, row_id))
        return heapq.heappop(self._drawn)[2] if self.most is not None and len(self._drawn) > self.most else None

    def keep(
        self, rows: Iterator[dict[str, Any]], work: Path, schema: Any, task: str, drop: Callable[[str], None]
    ) -> Iterator[dict[str, Any]]:
        """The good rows that are kept, in their order. `drop` is told the ids of the others. The drawn rows lie in a file of
        this schema in the folder `work` in between: there may be more than memory holds."""
        if self.most is None:
            yield from rows
        elif self.first:
            yield from itertools.islice(rows, self.most)
        else:
            yield from self._lowest(rows, work / "drawn", schema, task, drop)

    def _lowest(
        self, rows: Iterator[dict[str, Any]], place: Path, schema: Any, task: str, drop: Callable[[str], None]
    ) -> Iterator[dict[str, Any]]:
        place.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: (place / "rows.arrow").unlink(missing_ok=True))
            with Writer(place / "rows.arrow", task, schema) as writer:
                for row in rows:
                    if self.hopeless(row["id"]):
                        drop(row["id"])
                        continue
                    gone = self.count(row["id"], writer.rows)
                    writer.add(row)
                    if gone is not None:
                        drop(gone)
            if self._drawn:
                write_json(place / "prepared.json", {"task": task, "name": "drawn", "fingerprint": ""})
                stored = Corpus.open(place)
                yield from (stored.row(number) for number in sorted(-number for _, number, _ in self._drawn))


def rank(row_id: str) -> int:
    """A hash of a row's id, by which rows are drawn."""
    return int.from_bytes(hashlib.blake2b(row_id.encode(), digest_size=8).digest(), "big")
