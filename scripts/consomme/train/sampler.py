"""Batches of similar length in an order that (seed, epoch) alone decides."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from torch.utils.data import Sampler

MEGABATCH = 50  # batches that are sorted by length together; as in transformers' LengthGroupedSampler

# (turn, corpus, row): how often the corpus had been gone through before, its name, the row's number in it
Key = tuple[int, str, int]


class LengthGroupedBatches(Sampler[list[Key]]):
    """One epoch of batches.

    An epoch draws round(weight * rows) rows of each corpus. The draws of successive epochs run through one shuffle of
    the corpus after the other, so a weight of 0.5 has seen every row after two epochs, and a weight of 2 sees each
    twice in one. All drawn rows are shuffled, cut into groups of up to 50 batches, sorted by length within
    their group, cut into batches; the batches are shuffled. Only the last group can hold a short batch.

    lengths: corpus -> length of each row [rows] (frames or tokens); rows: corpus -> row numbers that may be drawn;
    weights: corpus -> weight > 0."""

    def __init__(
        self,
        lengths: Mapping[str, np.ndarray],
        rows: Mapping[str, np.ndarray],
        weights: Mapping[str, float],
        batch_size: int,
        seed: int,
    ) -> None:
        self.lengths, self.rows = lengths, rows
        self.draws = {name: max(1, round(weights[name] * len(rows[name]))) for name in rows if len(rows[name])}
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0
        self.drop_last = False  # accelerate asks

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-sum(self.draws.values()) // self.batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        keys = [key for name in self.draws for key in self._drawn(name)]
        lengths = np.array([self.lengths[name][row] for _, name, row in keys])
        generator = np.random.default_rng([self.seed, self.epoch])
        order = generator.permutation(len(keys))
        group = self.batch_size * min(MEGABATCH, max(1, len(keys) // (4 * self.batch_size)))
        batches: list[Sequence[int]] = []
        for start in range(0, len(order), group):
            members = order[start : start + group]
            members = members[np.argsort(-lengths[members], kind="stable")]
            batches += [members[i : i + self.batch_size] for i in range(0, len(members), self.batch_size)]
        for number in generator.permutation(len(batches)):
            yield [keys[i] for i in batches[number]]

    def _drawn(self, name: str) -> Iterator[Key]:
        """The rows of one corpus in this epoch."""
        rows, count = self.rows[name], self.draws[name]
        start, stop = self.epoch * count, (self.epoch + 1) * count
        for turn in range(start // len(rows), (stop - 1) // len(rows) + 1):
            # seeded by the corpus' name: a corpus added beside it leaves its shuffles alone
            shuffle = np.random.default_rng([self.seed, zlib.crc32(name.encode()), turn]).permutation(rows)
            first = max(start - turn * len(rows), 0)
            for row in shuffle[first : stop - turn * len(rows)]:
                yield turn, name, int(row)
