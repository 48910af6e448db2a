"""The smallest difference that a test could have seen, four times in five.

After Holm's adjustment, as the first of all claims: at the level 5 % / claims. So the power is 80 % at least."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaincinv, nctdtrinc, ndtr, stdtrit

from consomme.common.evidence import LEVEL, POWER, REPLICATES
from consomme.report.evidence.crossed import freedom

_POINTS = 400  # of the distribution of the scatter over replicates


def visible(
    over_units: float, units: int, claims: int, over_replicates: float | None = None, replicates: int = 1
) -> float:
    """In points; NaN if no difference could have been seen. over_units, over_replicates: the two variances of the mean
    difference; without the second, of these models.

    By the noncentral t for these models. For the method the three tests have to agree: their bar is worked out for each
    scatter that so many replicates may show, whose square is chi-square distributed."""
    if measurable(over_units, units, claims):
        return float("nan")
    side = 1 - LEVEL / 2 / claims
    bar = float(stdtrit(units - 1, side))
    if over_replicates is None or replicates < REPLICATES:
        return float(nctdtrinc(units - 1, 1 - POWER, bar)) * over_units**0.5
    shares = (np.arange(_POINTS) + 0.5) / _POINTS
    seen = over_replicates * gammaincinv((replicates - 1) / 2, shares) * 2 / (replicates - 1)
    both = over_units + seen
    bars = stdtrit(freedom(np.full(_POINTS, over_units), seen, units, replicates), side) * np.sqrt(both)
    bars = np.maximum(bars, np.maximum(stdtrit(replicates - 1, side) * np.sqrt(seen), bar * over_units**0.5))
    error = (over_units + over_replicates) ** 0.5
    return float(brentq(lambda d: ndtr((d - bars) / error).mean() - POWER, 0, bars.max() + 4 * error))


def measurable(over_units: float, units: int, claims: int) -> str:
    """Why no difference could have been seen; empty if one could."""
    if units < 2:
        return "one unit"
    if 2.0 ** (1 - units) > LEVEL / claims:
        return f"{units} units can't reach p {LEVEL / claims:.2g}"
    return "" if over_units > 0 else "equal answers"


def foreseen(over_units: float, units: int, claims: int, several: Sequence[int] = (3, 5, 8)) -> dict[int, float]:
    """What more replicates could show for the method, {replicates: points}, if other seeds moved a replicate's difference
    by as much as other test data would: by one standard error."""
    return {r: visible(over_units, units, claims, over_units / r, r) for r in several}
