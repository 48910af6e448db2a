"""Replicates and units as crossed random factors: other seeds, and other test data.

The mean difference over replicates varies over units by V_u (`Pulls.variance`), of which C is shared by all replicates
(`Pulls.shared`) and the rest is each replicate's own, and over replicates by V_s = s²/R, which holds seeds and the rest of V_u.
So its variance is C + V_s, and at least V_u: the quasi-F of Clark (1973, "The language-as-fixed-effect fallacy", J. Verbal
Learning and Verbal Behavior 12; Forster and Dickinson 1976, ibid. 15) with Satterthwaite's (1946) degrees of freedom. Two or
three replicates may by chance differ less than they should, so the t test over replicates and the test over units have to
agree: p is the largest of the three.

Clark's min F' has V_u + V_s in place of C + V_s, and counts the rest of V_u twice. As the largest of three it holds its size as
well, but is blunt where replicates share little and seeds matter little: with eight replicates and normal effects it calls
0.7 % of equal recipes at 5 %, where this one calls 2 %, and sees a difference of three standard errors in 55 % of cases, where
this one does in 70 %. Over all scatters of seeds, from 0 to 5 standard errors, and shared parts of 0, 50 and 90 %, either
calls at most 5.8 % at 5 %. The t test over replicates alone, F1 and F2 both, and the multi-bootstrap (Sellam et al. 2022) don't
hold their size: they reach 79, 10 and 20 %. (`make bench-evidence PARTS="theory seeds sets"`)"""

from __future__ import annotations

import numpy as np
from scipy.special import stdtr, stdtrit

from consomme.common.evidence import REPLICATES
from consomme.report.evidence.paired import Floats, Pulls
from consomme.report.evidence.student import TAIL, ratios


def spread(values: Floats) -> Floats:
    """V_s: the variance of the mean over replicates, [...], from values [..., replicates]."""
    return values.var(axis=-1, ddof=1) / values.shape[-1]


def combined(pulls: Pulls, over_replicates: Floats, replicates: int) -> tuple[Floats, Floats]:
    """The variance of the mean over both, and its degrees of freedom, [...] each."""
    units = pulls.mean.shape[-1]
    variance = np.maximum(pulls.variance, pulls.shared + over_replicates)
    parts = over_replicates**2 / (replicates - 1) + pulls.variance**2 / max(units - 1, 1)
    return variance, np.where(parts > 0, variance**2 / np.where(parts > 0, parts, 1.0), float(units))


def p_beyond(differences: Floats, pulls: Pulls, of_models: Floats, margin: Floats) -> Floats:
    """Two-sided p of a mean difference that is -margin, [comparisons]: the largest of quasi-F, the t test over replicates
    and `of_models`, the p over units. differences: [comparisons, replicates]."""
    over_replicates, replicates = spread(differences), differences.shape[-1]
    shift = np.abs(differences.mean(-1) + margin)
    variance, degrees = combined(pulls, over_replicates, replicates)
    both = 2 * stdtr(degrees, -ratios(shift, np.sqrt(variance)))
    alone = 2 * stdtr(replicates - 1, -ratios(shift, np.sqrt(over_replicates)))
    return np.maximum(of_models, np.maximum(both, alone))


def interval(values: Floats, pulls: Pulls) -> tuple[Floats, Floats]:
    """95 % interval of a mean over replicates, [...] each end, by quasi-F. values: [..., replicates]."""
    variance, degrees = combined(pulls, spread(values), values.shape[-1])
    half = stdtrit(degrees, 1 - TAIL) * np.sqrt(variance)
    return values.mean(-1) - half, values.mean(-1) + half


def wider(differences: Floats, pulls: Pulls, of_models: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """The widest of that interval, of the t test's over three or more replicates, and of the models' own: it clears a margin
    where `p_beyond` is below 5 %. Of two replicates the t test's would be 13 standard errors wide, and nothing rests on it."""
    low, high = interval(differences, pulls)
    low, high = np.fmin(low, of_models[0]), np.fmax(high, of_models[1])
    replicates = differences.shape[-1]
    if replicates >= REPLICATES:
        half = stdtrit(replicates - 1, 1 - TAIL) * np.sqrt(spread(differences))
        low, high = np.minimum(low, differences.mean(-1) - half), np.maximum(high, differences.mean(-1) + half)
    return low, high
