"""The smallest difference that a test could have seen, four times in five.

After Holm's adjustment, as the first of all claims: at the level 5 % / claims. So the power is 80 % at least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaincinv, nctdtrinc, ndtr, stdtrit

from consomme.common.evidence import LEVEL, POWER, REPLICATES

_POINTS = 400  # of the distribution of the scatter over replicates


@dataclass(frozen=True)
class Variances:
    """Of a mean difference: over its units (V_u, and C, what replicates share of it), and over replicates (V_s)."""

    units: int
    over_units: float
    shared: float = 0.0
    replicates: int = 1
    over_replicates: float = 0.0


def visible(known: Variances, claims: int) -> float:
    """In points; NaN if no difference could have been seen. With fewer than three replicates of these models, by the
    noncentral t.

    For the method the three tests of `crossed` have to agree: their bar is worked out for each scatter that so many replicates
    may show, whose square is chi-square distributed."""
    if measurable(known, claims):
        return float("nan")
    side, error = 1 - LEVEL / 2 / claims, known.over_units**0.5
    bar = float(stdtrit(known.units - 1, side))
    if known.replicates < REPLICATES:
        return float(nctdtrinc(known.units - 1, 1 - POWER, bar)) * error
    freedom = known.replicates - 1
    seen = known.over_replicates * gammaincinv(freedom / 2, (np.arange(_POINTS) + 0.5) / _POINTS) * 2 / freedom
    variance = np.maximum(known.over_units, known.shared + seen)
    degrees = variance**2 / (seen**2 / freedom + known.over_units**2 / (known.units - 1))
    bars = np.maximum(stdtrit(degrees, side) * np.sqrt(variance), stdtrit(freedom, side) * np.sqrt(seen))
    bars = np.maximum(bars, bar * error)
    true = max(known.over_units, known.shared + known.over_replicates) ** 0.5
    return float(brentq(lambda d: ndtr((d - bars) / true).mean() - POWER, 0, bars.max() + 4 * true))


def measurable(known: Variances, claims: int) -> str:
    """Why no difference could have been seen; empty if one could."""
    if known.units < 2:
        return "one unit"
    if 2.0 ** (1 - known.units) > LEVEL / claims:
        return f"{known.units} units can't reach p {LEVEL / claims:.2g}"
    return "" if known.over_units > 0 else "equal answers"


def foreseen(known: Variances, claims: int, several: Sequence[int] = (3, 5, 8)) -> dict[int, float]:
    """What more replicates could show for the method, {replicates: points}, if other seeds moved a replicate's difference
    by as much as other test data would, by one standard error, and the replicates' answers varied together over units."""
    error = known.over_units
    return {r: visible(Variances(known.units, error, error, r, error / r), claims) for r in several}
