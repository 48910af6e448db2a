"""How large a difference is: the relative change, and the shares of rows that became better and worse."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from consomme.evaluate.metrics.base import Metric
from consomme.report.evidence.claims import Comparison
from consomme.report.outcomes import Outcomes


class Effect(NamedTuple):
    """A model compared with another. Shares are in percent of the rows."""

    # change of the metric's value in percent of the other's, as it is written: below 0 for an error rate that sank; NaN where
    # the other's is 0
    relative: float
    better: float
    worse: float
    equal: float


def effect(model: NDArray[np.float64], against: NDArray[np.float64], metric: Metric) -> Effect:
    """Of the statistics of the same rows, [n, k] each. A row is better whose own value is; of BLEU and others that are made for
    whole texts, a row's value is rough."""
    ours, theirs = (float(metric.value(side.sum(0))) for side in (model, against))
    gain = metric.gain(metric.value(model) - metric.value(against))
    shares = [100 * float(np.mean(np.sign(np.round(gain, 9)) == sign)) for sign in (1, -1, 0)]
    return Effect(100 * (ours - theirs) / abs(theirs) if theirs else float("nan"), *shares)


def effect_of(outcomes: Outcomes, comparison: Comparison) -> Effect:
    """The mean over the comparison's replicates."""
    metric, name = outcomes.metric(comparison.metric), comparison.metric
    found = []
    for replicate, _ in comparison.by_replicate:
        sheets = (
            outcomes.sheet(side, replicate, comparison.split, comparison.set)
            for side in (comparison.model, comparison.against)
        )
        found.append(effect(*(outcomes.statistics(sheet, name) for sheet in sheets), metric))
    return Effect(*np.mean(np.array(found), axis=0).tolist())


def effect_words(effect: Effect) -> str:
    """As in `-12.3 %; rows: 31 % better, 19 % worse, 50 % equal`."""
    relative = "" if np.isnan(effect.relative) else f"{effect.relative:+.1f} %; ".replace("-", "−")
    return f"{relative}rows: {effect.better:.0f} % better, {effect.worse:.0f} % worse, {effect.equal:.0f} % equal"
