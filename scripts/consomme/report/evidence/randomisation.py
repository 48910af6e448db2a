"""Paired approximate randomisation: if the two models were alike, their outputs could be swapped, unit by unit.

Noreen 1989; for translation, Riezler and Maxwell 2005. Whole units are swapped, because the rows of one recording are
not independent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from consomme.report.evidence.bootstrap import SEED, Stratum, Value, differences

TRIALS = 10_000
_BLOCK = 4_000_000


def randomised_differences(
    strata: Sequence[Stratum], value: Value, trials: int = TRIALS, seed: int = SEED
) -> NDArray[np.float64]:
    """Mean difference over replicates under random swaps, [comparisons, trials].

    The replicates of one stratum swap together (their models were tested on the same rows); strata swap on their own."""
    comparisons = strata[0].model.shape[0]
    total = np.zeros((comparisons, trials))
    for number, stratum in enumerate(strata):
        _, replicates, units, k = stratum.model.shape
        change = (stratum.against - stratum.model).transpose(2, 0, 1, 3).reshape(units, -1)
        model, against = stratum.model.sum(2), stratum.against.sum(2)
        rng = np.random.default_rng([seed, number])
        block = max(1, _BLOCK // units)
        for start in range(0, trials, block):
            rows = min(block, trials - start)
            bits = rng.integers(0, 256, size=(rows, -(-units // 8)), dtype=np.uint8)
            swapped = np.unpackbits(bits, axis=1)[:, :units].astype(np.float64) @ change
            moved = swapped.reshape(rows, comparisons, replicates, k)
            difference = value(model + moved) - value(against - moved)
            total[:, start : start + rows] += difference.sum(2).T
    return total / sum(s.replicates for s in strata)


def randomisation(
    strata: Sequence[Stratum], value: Value, trials: int = TRIALS, seed: int = SEED
) -> NDArray[np.float64]:
    """Two-sided p of each comparison, [comparisons]: the share of swaps that give a difference as large as was seen.

    The observed labelling counts as one of the trials, so that p is never 0."""
    observed = np.abs(differences(strata, value, 1.0).mean(1))
    drawn = np.abs(randomised_differences(strata, value, trials, seed))
    # a swap that changes nothing must count as equal, whatever the last bit says
    reached = np.count_nonzero(drawn >= observed[:, None] - 1e-9, axis=1)
    return (reached + 1) / (trials + 1)
