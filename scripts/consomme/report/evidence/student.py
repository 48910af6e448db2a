"""Student's t and the bootstrap t on the units' pulls (`paired.pulls`): other test data, the same models.

The t of a skewed sample isn't Student's: few units that fail badly make it lean to one side. The bootstrap t has the lean of
the sample itself (Hall 1988, Annals of Statistics 16; Efron and Tibshirani 1993, ch. 12)."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtr, stdtrit

from consomme.evaluate.bootstrap import SEED, counts
from consomme.report.evidence.paired import Floats

RESAMPLES = 10_000
TAIL = 0.025  # of a 95 % interval
# A resample may miss all units that matter; its standard error counts as at least this share of the sample's. An error rate
# of two or three units alone then has the upper end of Clopper and Pearson, 3.5 and 2.7 times the rate, about.
_LEAST = 0.4


def standard_errors(pulls: Floats) -> Floats:
    """Of what the units pull at, [...], from pulls [..., units]."""
    return np.sqrt((pulls**2).sum(-1))


def ratios(shift: Floats, errors: Floats) -> Floats:
    """t: shifts over their standard errors. Without any error, what is there is beyond doubt: ±inf, or 0 for no shift."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(errors > 0, shift / errors, np.where(np.abs(shift) < 1e-12, 0.0, np.copysign(np.inf, shift)))


def bootstrap_t(pulls: Floats, resamples: int = RESAMPLES, seed: int = SEED) -> Floats:
    """t of resampled units, [comparisons, resamples], from pulls [comparisons, units]."""
    comparisons, units = pulls.shape
    centred = (pulls - pulls.mean(1, keepdims=True)).T
    both = np.concatenate([centred, centred**2], axis=1)
    scale = units / max(units - 1, 1)
    least = (_LEAST**2 * scale * (centred**2).sum(0))[None]
    found = []
    for drawn in counts(units, resamples, seed):
        sums = drawn @ both
        shift, squares = sums[:, :comparisons], sums[:, comparisons:]
        found.append(ratios(shift, np.sqrt(np.maximum(scale * (squares - shift**2 / units), least))))
    return np.concatenate(found).T


def p_beyond(differences: Floats, pulls: Floats, drawn: Floats, margin: Floats) -> Floats:
    """Two-sided p of a difference that is -margin, [comparisons]: the larger of Student's and the bootstrap t's, and at
    least what a sign test of so many units can reach. Half of it is the p of either side alone, so that a level of 5 %
    here is one of 2.5 % there. drawn: of `bootstrap_t`."""
    units = pulls.shape[1]
    t = ratios(differences + margin, standard_errors(pulls))
    beyond = np.where(t[:, None] >= 0, drawn >= t[:, None] - 1e-9, drawn <= t[:, None] + 1e-9)
    found = (np.count_nonzero(beyond, axis=1) + 1) / (drawn.shape[1] + 1)
    return np.minimum(1.0, np.maximum(2 * np.maximum(found, stdtr(units - 1, -np.abs(t))), 2.0 ** (1 - units)))


def interval(values: Floats, pulls: Floats, drawn: Floats) -> tuple[Floats, Floats]:
    """95 % interval by the bootstrap t, [comparisons] each end; NaN of a lone unit, which says nothing of others."""
    errors = standard_errors(pulls) if pulls.shape[1] > 1 else np.full(len(pulls), np.nan)
    low, high = np.quantile(drawn, [TAIL, 1 - TAIL], axis=1)
    return values - high * errors, values - low * errors


def wider(values: Floats, pulls: Floats, drawn: Floats) -> tuple[Floats, Floats]:
    """The wider of the bootstrap t's interval and Student's, end by end: it clears a margin where `p_beyond` is below 5 %."""
    low, high = interval(values, pulls, drawn)
    half = stdtrit(max(pulls.shape[1] - 1, 1), 1 - TAIL) * standard_errors(pulls)
    return np.minimum(low, values - half), np.maximum(high, values + half)
