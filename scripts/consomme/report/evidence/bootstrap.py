"""Bootstrap over units: intervals of scores and of differences, and the test of non-inferiority.

A unit is a cluster of rows that share a recording or a document (`Rows.units`); units are independent. Statistics are
sums over a unit's rows, so that resampling is a matrix product with the number of draws of each unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from consomme.evaluate.bootstrap import block_for, counts

Value = Callable[[NDArray[np.float64]], NDArray[np.float64]]
RESAMPLES = 10_000
SEED = 20_240_229


@dataclass(frozen=True)
class Stratum:
    """Paired statistics of the units that the same replicates were tested on."""

    # sums of sufficient statistics over each unit's rows, [comparisons, replicates, units, k]
    model: NDArray[np.float64]
    against: NDArray[np.float64]
    # indices of the replicates among all, from 0; default: all
    places: tuple[int, ...] | None = None

    @property
    def at(self) -> list[int]:
        """The replicates' indices."""
        return list(range(self.model.shape[1]) if self.places is None else self.places)

    @property
    def units(self) -> int:
        return self.model.shape[2]


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
    """Observed differences [comparisons, replicates]; positive means `model` is better."""
    model, against = (totals(strata, [getattr(s, side).sum(2) for s in strata]) for side in ("model", "against"))
    return sign * (value(model) - value(against))


def totals(strata: Sequence[Stratum], sums: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Each replicate's sums over all strata, [..., replicates, k], from those of each stratum [..., its replicates, k]."""
    found = np.zeros((*sums[0].shape[:-2], replicates_of(strata), sums[0].shape[-1]))
    for stratum, part in zip(strata, sums, strict=True):
        found[..., stratum.at, :] += part
    return found


def replicates_of(strata: Sequence[Stratum]) -> int:
    """The number of replicates of all strata."""
    return 1 + max(max(s.at) for s in strata)


def resampled_differences(
    strata: Sequence[Stratum], value: Value, sign: float, resamples: int = RESAMPLES, seed: int = SEED
) -> NDArray[np.float64]:
    """Mean difference over replicates under resampling, [comparisons, resamples].

    A unit that several replicates were tested on is drawn for all of them together; strata are resampled independently."""
    block = min(block_for(s.units) for s in strata)
    drawing = [counts(s.units, resamples, [seed, number], block) for number, s in enumerate(strata)]
    flat = []
    for s in strata:
        both = np.stack([s.model, s.against])  # [2, c, r, u, k]
        flat.append(np.ascontiguousarray(both.transpose(3, 0, 1, 2, 4)).reshape(s.units, -1))
    found = []
    for drawn in zip(*drawing, strict=True):
        sums = [
            (often @ each).reshape(len(often), 2, *s.model.shape[:2], s.model.shape[3])
            for often, each, s in zip(drawn, flat, strata, strict=True)
        ]
        both = totals(strata, sums)  # [b, 2, c, r, k]
        values = value(both.reshape(len(both), -1, both.shape[-1])).reshape(both.shape[:-1])
        found.append(sign * (values[:, 0] - values[:, 1]).mean(-1))
    return np.concatenate(found).T


def non_inferiority(resampled: NDArray[np.float64], margin: float, units: int) -> NDArray[np.float64]:
    """One-sided p of "not worse by `margin` or more": the fraction of resampled differences <= -margin, over the last
    axis.

    The observed sample counts as one of the resamples, so that p is never 0. p is also at least the lowest that a sign
    test with this number of units can reach, because resamples of a few units vary too little."""
    below = np.count_nonzero(resampled <= -margin + 1e-12, axis=-1)
    return np.maximum((below + 1) / (resampled.shape[-1] + 1), 2.0**-units)


def detectable(resampled: NDArray[np.float64]) -> NDArray[np.float64]:
    """The difference that this test would detect with a power of 80 %: (1.96 + 0.84) standard errors."""
    return 2.80 * np.nanstd(resampled, axis=-1)
