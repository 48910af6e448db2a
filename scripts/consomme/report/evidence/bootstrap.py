"""Bootstrap over units: intervals of scores and of differences, and the test of non-inferiority.

A unit is what was drawn independently: a cluster of rows that share a recording or a document (`Rows.units`). Statistics
are sums over a unit's rows, so that a resample of units is a matrix product with how often each was drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from consomme.evaluate.bootstrap import counts

Value = Callable[[NDArray[np.float64]], NDArray[np.float64]]
RESAMPLES = 10_000
SEED = 20_240_229


@dataclass(frozen=True)
class Stratum:
    """Paired statistics of replicates that were tested on the same rows.

    model, against: float64 [comparisons, replicates, units, k], sums of sufficient statistics over each unit's rows."""

    model: NDArray[np.float64]
    against: NDArray[np.float64]

    @property
    def units(self) -> int:
        return self.model.shape[2]

    @property
    def replicates(self) -> int:
        return self.model.shape[1]


def resampled_values(
    sums: NDArray[np.float64], value: Value, resamples: int = RESAMPLES, seed: int | Sequence[int] = SEED
) -> NDArray[np.float64]:
    """Values of `models` under resampling: sums [models, units, k] -> [models, resamples].

    All models see the same resamples."""
    models, units, k = sums.shape
    flat = np.ascontiguousarray(sums.transpose(1, 0, 2).reshape(units, models * k))
    blocks = [value((drawn @ flat).reshape(-1, models, k)).T for drawn in counts(units, resamples, seed)]
    return np.concatenate(blocks, axis=1)


def interval(values: NDArray[np.float64], level: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Percentile interval over the last axis."""
    tail = (1 - level) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail], axis=-1)
    return low, high


def differences(strata: Sequence[Stratum], value: Value, sign: float) -> NDArray[np.float64]:
    """Observed differences [comparisons, replicates], strata one after the other; positive means `model` is better."""
    return np.concatenate([sign * (value(s.model.sum(2)) - value(s.against.sum(2))) for s in strata], axis=1)


def resampled_differences(
    strata: Sequence[Stratum], value: Value, sign: float, resamples: int = RESAMPLES, seed: int = SEED
) -> NDArray[np.float64]:
    """Mean difference over replicates under resampling, [comparisons, resamples].

    The replicates of one stratum share their resamples; strata are resampled independently."""
    comparisons = strata[0].model.shape[0]
    total = np.zeros((comparisons, resamples))
    for number, stratum in enumerate(strata):
        both = np.stack([stratum.model, stratum.against])  # [2, c, r, u, k]
        flat = both.reshape(-1, *both.shape[3:])
        values = resampled_values(flat, value, resamples, [seed, number]).reshape(*both.shape[:3], resamples)
        total += sign * (values[0] - values[1]).sum(1)
    return total / sum(s.replicates for s in strata)


def non_inferiority(resampled: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
    """One-sided p of "not worse by `margin` or more": the share of resampled differences <= -margin, over the last axis.

    The observed sample counts as one of the resamples, so that p is never 0."""
    below = np.count_nonzero(resampled <= -margin + 1e-12, axis=-1)
    return (below + 1) / (resampled.shape[-1] + 1)


def detectable(resampled: NDArray[np.float64]) -> NDArray[np.float64]:
    """The difference that a test of this size would see four times in five: (1.96 + 0.84) standard errors."""
    return 2.80 * np.nanstd(resampled, axis=-1)
