"""Segments: rows that are cut out of longer recordings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any

from consomme.data.audio import TOLERANCE
from consomme.data.sources import Raw


class Segments:
    """The segments among the rows of a corpus, and which of them overlap."""

    def __init__(self) -> None:
        self._times: dict[str, tuple[Any, float, float]] = {}  # id -> recording, start, end in seconds
        self._stored: list[tuple[Any, float, float, str, str]] = []  # the same, id, text

    def noted(self, raws: Iterable[Raw]) -> Iterator[Raw]:
        """The same rows; the times of segments are remembered."""
        for raw in raws:
            if raw.start is not None and not raw.problem:
                end = math.inf if raw.end is None else raw.end
                self._times[raw.id] = (str(raw.audio), raw.start, end)
            yield raw

    def stored(self, row: Mapping[str, Any]) -> None:
        """Note a row that is kept."""
        if row["id"] in self._times:
            self._stored.append((*self._times[row["id"]], row["id"], row["text"]))

    def overlaps(self) -> list[str]:
        """ "ID with ID" for each segment that begins before an earlier one of its recording ends and has another text."""
        found = []
        for _, segments in itertools.groupby(sorted(self._stored), key=itemgetter(0)):
            last, *others = segments
            for segment in others:
                if segment[1] < last[2] - TOLERANCE and segment[4] != last[4]:
                    found.append(f"{segment[3]} with {last[3]}")
                last = max(last, segment, key=itemgetter(2))
        return found
