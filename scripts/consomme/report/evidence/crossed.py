"""Replicates and units as crossed random factors: other seeds, and other test data.

The mean difference over replicates has the variance V_u + V_s: that over units, which all replicates share or not
(`paired.mean_pulls`), and that over replicates, s²/R. With Satterthwaite's (1946) degrees of freedom their ratio is Clark's
min F' (1973, "The language-as-fixed-effect fallacy", J. Verbal Learning and Verbal Behavior 12), as F1 F2 / (F1 + F2) is
d²/(V_u + V_s). It is a little too easy with two or three replicates that differ by chance less than they should; so the t
test over replicates, and the test over units, have to agree: p is the largest of the three. Of what was tried, this alone
held its size for any scatter over seeds with three replicates (`make bench-evidence`): the t test over replicates alone is
blind to the units that they share, min F' alone calls up to 8 % at 5 %, an estimate of the variance components 12 %, the
multi-bootstrap (Sellam et al. 2022) 20 %."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtr, stdtrit

from consomme.common.evidence import REPLICATES
from consomme.report.evidence.paired import Floats
from consomme.report.evidence.student import TAIL, ratios, standard_errors


def spread(differences: Floats) -> Floats:
    """V_s: the variance of the mean over replicates, [comparisons], from differences [comparisons, replicates]."""
    return differences.var(axis=1, ddof=1) / differences.shape[1]


def freedom(over_units: Floats, over_replicates: Floats, units: int, replicates: int) -> Floats:
    """Satterthwaite's degrees of freedom of the sum of two variances."""
    parts = over_replicates**2 / (replicates - 1) + over_units**2 / max(units - 1, 1)
    total = (over_units + over_replicates) ** 2
    return np.where(parts > 0, total / np.where(parts > 0, parts, 1.0), float(units))


def p_beyond(differences: Floats, pulls: Floats, of_models: Floats, margin: Floats) -> Floats:
    """Two-sided p of a mean difference that is -margin, [comparisons]: the largest of min F', the t test over replicates
    and `of_models`, the p over units."""
    over_units, over_replicates = standard_errors(pulls) ** 2, spread(differences)
    shift, replicates = np.abs(differences.mean(1) + margin), differences.shape[1]
    degrees = freedom(over_units, over_replicates, pulls.shape[1], replicates)
    both = 2 * stdtr(degrees, -ratios(shift, np.sqrt(over_units + over_replicates)))
    alone = 2 * stdtr(replicates - 1, -ratios(shift, np.sqrt(over_replicates)))
    return np.maximum(of_models, np.maximum(both, alone))


def interval(values: Floats, pulls: Floats) -> tuple[Floats, Floats]:
    """95 % interval of a mean over replicates, [...] each end, from the variance that min F' has. values: [..., replicates]."""
    over_units, over_replicates = standard_errors(pulls) ** 2, spread(values)
    degrees = freedom(over_units, over_replicates, pulls.shape[-1], values.shape[1])
    half = stdtrit(degrees, 1 - TAIL) * np.sqrt(over_units + over_replicates)
    return values.mean(1) - half, values.mean(1) + half


def wider(differences: Floats, pulls: Floats, of_models: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """The widest of that interval, of the t test's over three or more replicates, and of the models' own: it clears a margin
    where `p_beyond` is below 5 %. Of two replicates the t test's would be 13 standard errors wide, and nothing rests on it."""
    low, high = interval(differences, pulls)
    low, high = np.fmin(low, of_models[0]), np.fmax(high, of_models[1])
    replicates = differences.shape[1]
    if replicates >= REPLICATES:
        half = stdtrit(replicates - 1, 1 - TAIL) * np.sqrt(spread(differences))
        low, high = np.minimum(low, differences.mean(1) - half), np.maximum(high, differences.mean(1) + half)
    return low, high
