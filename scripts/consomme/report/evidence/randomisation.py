"""Paired approximate randomisation: under the null hypothesis, the two models' outputs can be swapped, unit by unit.

Noreen 1989; for translation, Riezler and Maxwell 2005. Whole units are swapped, in all replicates together, because the
rows of one speaker are not independent. The replicates' models are held fixed: p speaks of these models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from consomme.evaluate.bootstrap import SEED
from consomme.report.evidence.paired import Floats, Tested, Value, count, differences

TRIALS = 10_000
_BLOCK = 4_000_000


def randomised_differences(
    replicates: Sequence[Tested], value: Value, trials: int = TRIALS, seed: int = SEED
) -> Floats:
    """Mean difference over replicates under random swaps, [comparisons, trials]."""
    names = np.unique(np.concatenate([t.units for t in replicates]))
    units = count([t.units for t in replicates])
    sides = [
        (np.searchsorted(names, t.units), t.model.sum(1), t.against.sum(1), (t.against - t.model).transpose(1, 0, 2))
        for t in replicates
    ]
    random, found = np.random.default_rng(seed), []
    block = max(1, _BLOCK // units)
    for start in range(0, trials, block):
        rows = min(block, trials - start)
        bits = random.integers(0, 256, size=(rows, -(-units // 8)), dtype=np.uint8)
        swapped = np.unpackbits(bits, axis=1)[:, :units]
        total = np.zeros((rows, len(replicates[0].model)))
        for places, model, against, change in sides:
            flat = np.ascontiguousarray(change).reshape(len(change), -1)
            moved = (swapped[:, places].astype(np.float64) @ flat).reshape(rows, *model.shape)
            total += value(model + moved) - value(against - moved)
        found.append(total / len(replicates))
    return np.concatenate(found).T


def randomisation(replicates: Sequence[Tested], value: Value, trials: int = TRIALS, seed: int = SEED) -> Floats:
    """Two-sided p of each comparison, [comparisons]: the fraction of trials with a difference as large as the observed.

    The observed labelling counts as one of the trials, so that p is never 0."""
    observed = np.abs(differences(replicates, value, 1.0).mean(1))
    drawn = np.abs(randomised_differences(replicates, value, trials, seed))
    # a swap without effect must count as equal in spite of rounding
    reached = np.count_nonzero(drawn >= observed[:, None] - 1e-9, axis=1)
    return (reached + 1) / (trials + 1)
