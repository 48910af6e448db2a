"""Two models' answers to the same units, replicate by replicate.

A unit is a cluster of rows that share a speaker, a document or a recording (`Rows.units_by`); units are independent of each
other. Replicates may be tested on the same units, on some in common (rotated speakers), or on none. A unit is one and the
same in all of them, so it is drawn, swapped and left out in all at once, and weighs nothing where it wasn't tested."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Value = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Tested:
    """One replicate: statistics summed over the rows of each of its units."""

    # [comparisons, units, k]
    model: Floats
    against: Floats
    # the number of each of its units among those of all replicates, from 0, [units]
    units: NDArray[np.int64]

    def without(self, gone: NDArray[np.int64]) -> Tested:
        """The same without some units."""
        left = ~np.isin(self.units, gone)
        return Tested(self.model[:, left], self.against[:, left], self.units[left])


def count(units: Sequence[NDArray[np.int64]]) -> int:
    """How many units all replicates have together."""
    return len(np.unique(np.concatenate(units)))


def differences(replicates: Sequence[Tested], value: Value, sign: float) -> Floats:
    """Observed differences [comparisons, replicates]; positive means that `model` is better."""
    return np.stack([sign * (value(t.model.sum(1)) - value(t.against.sum(1))) for t in replicates], axis=1)


def pulls(sums: Floats, value: Value) -> Floats:
    """How each unit pulls at the value of all, [..., units], from sums [..., units, k]. They add up to 0, and their squares
    to the variance of the value over other units.

    What leaving a unit out changes, centred and scaled: the jackknife's influence values (Efron 1982, "The Jackknife, the
    Bootstrap and Other Resampling Plans", ch. 3 and 6), which any smooth metric of sums has. For units of unlike sizes they
    are on the careful side (CR3 of MacKinnon, Nielsen and Webb 2023, J. Econometrics 232). A lone unit says nothing of
    others: 0."""
    units = sums.shape[-2]
    if units < 2:
        return np.zeros(sums.shape[:-1])
    left = value(sums.sum(-2, keepdims=True) - sums)
    return np.sqrt((units - 1) / units) * (left.mean(-1, keepdims=True) - left)


@dataclass(frozen=True)
class Pulls:
    """How units pull at a mean over replicates."""

    # [..., units of all replicates]
    mean: Floats
    # the covariance of two replicates, which is of the units that they share, in the mean over pairs, [...]; of one
    # replicate its variance
    shared: Floats

    @property
    def variance(self) -> Floats:
        """V_u: the variance of the mean over other units, [...]."""
        return (self.mean**2).sum(-1)


def mean_pulls(replicates: Sequence[tuple[Floats, NDArray[np.int64]]]) -> Pulls:
    """Of replicates: (the pulls [..., units] in one, the numbers of its units)."""
    several = len(replicates)
    names = np.unique(np.concatenate([units for _, units in replicates]))
    mean = np.zeros((*replicates[0][0].shape[:-1], len(names)))
    own = np.zeros(mean.shape[:-1])
    for pull, units in replicates:
        mean[..., np.searchsorted(names, units)] += pull / several
        own += (pull**2).sum(-1)
    together = several**2 * (mean**2).sum(-1)
    return Pulls(mean, np.maximum((together - own) / (several * (several - 1)), 0) if several > 1 else own)


def pulls_of(replicates: Sequence[Tested], value: Value, sign: float) -> Pulls:
    """How each unit pulls at the mean difference over replicates; [comparisons, ...]."""
    return mean_pulls([(sign * (pulls(t.model, value) - pulls(t.against, value)), t.units) for t in replicates])
