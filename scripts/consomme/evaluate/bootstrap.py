"""Resampling of a set by its units: rows that share a recording or a document stay together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from consomme.evaluate.metrics.base import Metric

RESAMPLES = 2000
SEED = 20240607
_CELLS = 2_000_000  # counts in memory at once


def unit_sums(statistics: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Sum the statistics [n, k] over each unit: float64 [u, k], units in ascending order of their number."""
    _, place = np.unique(units, return_inverse=True)
    sums = np.zeros((int(place.max(initial=-1)) + 1, statistics.shape[1]))
    np.add.at(sums, place, statistics)
    return sums


def counts(
    units: int, resamples: int = RESAMPLES, seed: int | Sequence[int] = SEED, block: int | None = None
) -> Iterator[np.ndarray]:
    """How often each unit is drawn in each resample, in blocks of float64 [b, units]; the same for the same seed."""
    random = np.random.default_rng(seed)
    block = block or block_for(units)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = random.integers(units, size=(size, units)) + np.arange(size)[:, None] * units
        yield np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units).astype(np.float64)


def block_for(units: int) -> int:
    """The number of resamples of `units` units to hold in memory at once."""
    return max(1, _CELLS // max(units, 1))


def bootstrap(
    metric: Metric, statistics: Sequence[np.ndarray], units: np.ndarray, resamples: int = RESAMPLES, seed: int = SEED
) -> np.ndarray:
    """The metric of several systems on the same resamples of the units: float64 [systems, resamples].

    statistics: one [n, k] for each system, rows as in `units` [n]. Because all systems share the resamples, differences
    along the first axis are those of a paired bootstrap (Koehn 2004; by speaker or recording: Bisani and Ney 2004)."""
    sums = np.stack([unit_sums(s, units) for s in statistics])  # [systems, u, k]
    return np.concatenate([metric.value(c @ sums) for c in counts(sums.shape[1], resamples, seed)], axis=-1)
