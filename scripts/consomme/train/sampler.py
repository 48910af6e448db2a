"""The rows of each batch, in an order that depends on (seed, epoch) alone."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, islice

import numpy as np
from torch.utils.data import Sampler

from consomme.train.pools import Pool

MEGABATCH = 50  # batches that are sorted by length together; as in transformers' LengthGroupedSampler

# (turn, corpus, row): number of earlier passes through the row's pool, the corpus's name, the row's number in it
Key = tuple[int, str, int]


class Batches(Sampler[list[Key]]):
    """Batches of a training, epoch by epoch.

    An epoch draws round(weight * rows) rows of each pool. Successive epochs draw from one shuffle of the pool after
    the other: with weight 0.5 every row is drawn once in two epochs, with weight 2 twice in one. All drawn rows are
    shuffled and cut into batches. With `grouped`, they are first cut into groups of up to 50 batches and sorted by length
    within each group, and the batches are shuffled; only the last group can have a short batch.

    A batch has `size` rows, or is filled up to `room`, in total length (with `grouped`, in length padded to the longest
    row); a row longer than that is a batch by itself. The number of filled batches varies by epoch, and Trainer needs
    one number: each epoch yields as many as the first pass has, and the next epoch continues there.

    lengths: corpus -> length of each row [rows] (frames, tokens, seconds); pools: the rows that may be drawn, and how
    often; room: in the unit of the lengths."""

    def __init__(
        self,
        lengths: Mapping[str, np.ndarray],
        pools: Sequence[Pool],
        size: int | None,
        seed: int,
        room: float | None = None,
        grouped: bool = False,
    ) -> None:
        if (size is None) == (room is None):
            raise ValueError("give either size or room")
        self.lengths, self.pools = lengths, pools
        self.size, self.room = size, math.inf if room is None else room
        self.seed, self.grouped, self.epoch = seed, grouped, 0
        self.batch_size = size  # accelerate reads this and the next
        self.drop_last = False
        drawn = sum(map(draws, pools))
        self.counts: list[int] = []  # batches of each filled pass so far
        self.whole = -(-drawn // size) if size else len(self._epoch(0))

    @property
    def largest(self) -> int:
        """The most rows that a batch has (in the first pass, if batches are filled)."""
        return self.size or max(map(len, self._epoch(0)))

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.whole

    def __iter__(self) -> Iterator[list[Key]]:
        return islice(self._from(self.epoch * self.whole), self.whole)

    def _from(self, place: int) -> Iterator[list[Key]]:
        """All batches from number `place` of the training on, without end."""
        first, skip = divmod(place, self.whole) if self.size else self._found(place)
        for number in count(first):
            yield from self._epoch(number)[skip:]
            skip = 0

    def _found(self, place: int) -> tuple[int, int]:
        """The position of batch number `place`: (pass, batch in it). Filled passes are built once each to count their batches."""
        for number in count():
            if number == len(self.counts):
                self.counts.append(len(self._epoch(number)))
            if place < self.counts[number]:
                return number, place
            place -= self.counts[number]
        raise AssertionError("unreachable")

    def _epoch(self, number: int) -> list[list[Key]]:
        """The batches of one pass through the drawn rows."""
        keys = [key for pool in self.pools for key in self._drawn(pool, number)]
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

    def _drawn(self, pool: Pool, epoch: int) -> Iterator[Key]:
        """The rows of one pool in an epoch."""
        rows, count = pool.rows, draws(pool)
        start, stop = epoch * count, (epoch + 1) * count
        for turn in range(start // len(rows), (stop - 1) // len(rows) + 1):
            # seeded by the pool's name, so that another pool does not change its shuffles
            shuffle = np.random.default_rng([self.seed, zlib.crc32(pool.name.encode()), turn]).permutation(rows)
            first = max(start - turn * len(rows), 0)
            for row in shuffle[first : stop - turn * len(rows)]:
                yield turn, pool.corpus, int(row)


def draws(pool: Pool) -> int:
    """The rows of a pool that an epoch draws, at least one."""
    return max(1, round(pool.weight * len(pool.rows)))
