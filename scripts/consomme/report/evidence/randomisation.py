"""Paired approximate randomisation: under the null hypothesis, the two models' outputs can be swapped, unit by unit.

Noreen 1989; for translation, Riezler and Maxwell 2005. Whole units are swapped, because the rows of one recording are
not independent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from consomme.report.evidence.bootstrap import SEED, Stratum, Value, differences, totals

TRIALS = 10_000
_BLOCK = 4_000_000


def randomised_differences(
    strata: Sequence[Stratum], value: Value, trials: int = TRIALS, seed: int = SEED
) -> NDArray[np.float64]:
    """Mean difference over replicates under random swaps, [comparisons, trials].

    A unit that several replicates were tested on is swapped in all of them together; strata are swapped independently."""
    changes, sides = [], []
    for s in strata:
        changes.append((s.against - s.model).transpose(2, 0, 1, 3).reshape(s.units, -1))
        sides.append((s.model.sum(2), s.against.sum(2)))
    model, against = (totals(strata, [side[i] for side in sides]) for i in (0, 1))
    generators = [np.random.default_rng([seed, number]) for number in range(len(strata))]
    block = max(1, _BLOCK // max(s.units for s in strata))
    found = []
    for start in range(0, trials, block):
        rows = min(block, trials - start)
        moved = []
        for s, change, rng in zip(strata, changes, generators, strict=True):
            bits = rng.integers(0, 256, size=(rows, -(-s.units // 8)), dtype=np.uint8)
            swapped = np.unpackbits(bits, axis=1)[:, : s.units].astype(np.float64) @ change
            moved.append(swapped.reshape(rows, *s.model.shape[:2], s.model.shape[3]))
        shift = totals(strata, moved)  # [rows, comparisons, replicates, k]
        found.append((value(model + shift) - value(against - shift)).mean(-1))
    return np.concatenate(found).T


def randomisation(
    strata: Sequence[Stratum], value: Value, trials: int = TRIALS, seed: int = SEED
) -> NDArray[np.float64]:
    """Two-sided p of each comparison, [comparisons]: the fraction of trials with a difference as large as the observed.

    The observed labelling counts as one of the trials, so that p is never 0."""
    observed = np.abs(differences(strata, value, 1.0).mean(1))
    drawn = np.abs(randomised_differences(strata, value, trials, seed))
    # a swap without effect must count as equal in spite of rounding
    reached = np.count_nonzero(drawn >= observed[:, None] - 1e-9, axis=1)
    return (reached + 1) / (trials + 1)
