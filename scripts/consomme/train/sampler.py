"""The rows of each batch, in an order that (seed, epoch) alone decides."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from itertools import count, islice

import numpy as np
from torch.utils.data import Sampler

MEGABATCH = 50  # batches that are sorted by length together; as in transformers' LengthGroupedSampler

# (turn, corpus, row): how often the corpus had been gone through before, its name, the row's number in it
Key = tuple[int, str, int]


class Batches(Sampler[list[Key]]):
    """Batches of a training, an epoch at a time.

    An epoch draws round(weight * rows) rows of each corpus. The draws of successive epochs run through one shuffle of
    the corpus after the other, so a weight of 0.5 has seen every row after two epochs, and a weight of 2 sees each
    twice in one. All drawn rows are shuffled and cut into batches. Where they are `grouped`, they are first cut into
    groups of up to 50 batches and sorted by length within their group, and all batches are shuffled; only the last group
    can hold a short batch.

    A batch has `size` rows, or else as many as fit `room` (a row longer than that stands alone): as they are, or grouped
    ones when all are padded to the longest. Filled batches differ in number from epoch to epoch, and Trainer counts on
    one number: an epoch yields as many as the first one has, and the next goes on where it ended.

    lengths: corpus -> length of each row [rows] (frames, tokens, seconds); rows: corpus -> row numbers that may be
    drawn; weights: corpus -> weight > 0; room: in the unit of the lengths."""

    def __init__(
        self,
        lengths: Mapping[str, np.ndarray],
        rows: Mapping[str, np.ndarray],
        weights: Mapping[str, float],
        size: int | None,
        seed: int,
        room: float | None = None,
        grouped: bool = False,
    ) -> None:
        if (size is None) == (room is None):
            raise ValueError("a batch has a size or a room")
        self.lengths, self.rows = lengths, rows
        self.draws = {name: max(1, round(weights[name] * len(rows[name]))) for name in rows if len(rows[name])}
        self.size, self.room = size, math.inf if room is None else room
        self.seed, self.grouped, self.epoch = seed, grouped, 0
        self.batch_size = size  # accelerate asks for this and the next
        self.drop_last = False
        drawn = sum(self.draws.values())
        self.counts: list[int] = []  # batches of each filled pass so far
        self.whole = -(-drawn // size) if size else len(self._epoch(0))

    @property
    def largest(self) -> int:
        """The most rows that a batch has (of the first pass, where batches are filled)."""
        return self.size or max(map(len, self._epoch(0)))

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.whole

    def __iter__(self) -> Iterator[list[Key]]:
        return islice(self._from(self.epoch * self.whole), self.whole)

    def _from(self, place: int) -> Iterator[list[Key]]:
        """All batches from the `place`-th of the training on, without end."""
        first, skip = divmod(place, self.whole) if self.size else self._found(place)
        for number in count(first):
            yield from self._epoch(number)[skip:]
            skip = 0

    def _found(self, place: int) -> tuple[int, int]:
        """Where the `place`-th batch stands: (pass, batch in it). Filled passes are made to be counted, each once."""
        for number in count():
            if number == len(self.counts):
                self.counts.append(len(self._epoch(number)))
            if place < self.counts[number]:
                return number, place
            place -= self.counts[number]
        raise AssertionError("unreachable")

    def _epoch(self, number: int) -> list[list[Key]]:
        """The batches of one pass through what it draws."""
        keys = [key for name in self.draws for key in self._drawn(name, number)]
        lengths = np.array([self.lengths[name][row] for _, name, row in keys])
        generator = np.random.default_rng([self.seed, number])
        order = generator.permutation(len(keys))
        if not self.grouped:
            return [[keys[i] for i in batch] for batch in self._cut(order, lengths)]
        typical = self.size or max(1, round(self.room / float(np.median(lengths))))  # rows of a batch
        group = typical * min(MEGABATCH, max(1, len(keys) // (4 * typical)))
        batches: list[np.ndarray] = []
        for start in range(0, len(order), group):
            members = order[start : start + group]
            members = members[np.argsort(-lengths[members], kind="stable")]
            batches += self._cut(members, lengths)
        return [[keys[i] for i in batches[place]] for place in generator.permutation(len(batches))]

    def _cut(self, members: np.ndarray, lengths: np.ndarray) -> Iterator[np.ndarray]:
        """Rows in batches; grouped ones come longest first."""
        start, total = 0, np.cumsum(lengths[members])
        while start < len(members):
            if self.size:
                stop = start + self.size
            elif self.grouped:
                stop = start + int(self.room // max(lengths[members[start]], 1e-9))
            else:
                stop = int(np.searchsorted(total, (total[start - 1] if start else 0) + self.room, side="right"))
            stop = max(stop, start + 1)
            yield members[start:stop]
            start = stop

    def _drawn(self, name: str, epoch: int) -> Iterator[Key]:
        """The rows of one corpus in an epoch."""
        rows, draws = self.rows[name], self.draws[name]
        start, stop = epoch * draws, (epoch + 1) * draws
        for turn in range(start // len(rows), (stop - 1) // len(rows) + 1):
            # seeded by the corpus' name: a corpus added beside it leaves its shuffles alone
            shuffle = np.random.default_rng([self.seed, zlib.crc32(name.encode()), turn]).permutation(rows)
            first = max(start - turn * len(rows), 0)
            for row in shuffle[first : stop - turn * len(rows)]:
                yield turn, name, int(row)
