"""What the report asks of evidence, for all who need to know it before there is any. Imports nothing heavy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import accumulate
from statistics import NormalDist

LEVEL = 0.05  # of all declared claims together
MISSED = Fraction(1, 20)  # by a 95 % interval
POWER = 0.8  # with which a visible difference is seen
FEW = 20  # units: with fewer, `keeps` is not tested, and p-values and intervals of the rest are rough
KINDS = ("recording", "document", "speaker")  # of units: each kind holds those before it

REPLICATES = 3  # with fewer, nothing is shown for the method

# Assumptions before any model is there: 15 % of the words are wrong and the two models differ in half of these; their
# sentence BLEU differs by 12 points (standard deviation), their chrF by 7. The measured results in docs/results are
# within a third of this.
WRONG, DIFFERENT = 0.15, 0.5
SPREAD = {"bleu": 12.0, "chrf": 7.0}
LETTERS = 4  # characters that count as one word for a character error rate


def unit_of(declared: str | Mapping[str, str], name: str) -> str:
    """The kind of the units of a set, as an experiment declares it: for all sets, or by the names of some."""
    return declared if isinstance(declared, str) else declared.get(name, KINDS[-1])


def foreseen(metric: str, rows: int, words: float, characters: float, claims: int = 1) -> float | None:
    """The smallest difference of two models that a test set of this size would show in four cases of five, in points, if
    seeds changed nothing and rows were independent, by the assumptions above; None for a metric without any. words,
    characters: of all references; claims: how many Holm's adjustment runs over, of which this is the first to be shown."""
    errors = NormalDist().inv_cdf(1 - LEVEL / 2 / claims) + NormalDist().inv_cdf(POWER)
    kind = metric.partition("-")[0]
    if kind in SPREAD:
        return errors * SPREAD[kind] / math.sqrt(max(rows, 1))
    if kind not in ("wer", "cer"):
        return None
    counted = words if kind == "wer" else characters / LETTERS
    return errors * 100 * math.sqrt(WRONG * DIFFERENT / max(counted, 1))


def of_median(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the median of what the values were drawn from: from the k-th smallest to the k-th largest, for
    the largest k at which it misses the median in at most 5 % of draws, as so many fair coins say whatever the
    distribution (the sign test's interval: Conover 1999, Practical Nonparametric Statistics, 3.2). Of six to eight values
    these are the smallest and the largest. None of fewer, between which the median lies less often than that."""
    count, ordered = len(values), sorted(values)
    missed = accumulate(2 * math.comb(count, below) for below in range(count))
    k = sum(ways <= MISSED * 2**count for ways in missed)
    return (ordered[k - 1], ordered[-k]) if k else None
