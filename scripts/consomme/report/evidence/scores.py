"""The scores of all models, with intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd

from consomme.report.evidence.bootstrap import interval, resampled_values
from consomme.report.outcomes import Outcomes
from consomme.results.columns import SCORES
from consomme.results.frames import frame, typed

RESAMPLES = 1000
ORDER = ["model", "replicate", "split", "set", "decoding", "metric"]
_TOGETHER = 32  # models resampled in one product


def scores(outcomes: Outcomes) -> pd.DataFrame:
    """All models on all sets in all metrics, details included, and decodings, with 95 % bootstrap intervals; sorted."""
    metrics = [*outcomes.metrics, *outcomes.details]
    outcomes.count_all(metrics)
    sheets = [*outcomes.sheets.values(), *outcomes.others]
    # equal hypotheses (the best run and the run itself) are counted once
    distinct = list({(s.rows, s.content): s for s in sheets}.values())
    measured = []
    for metric in metrics:
        value = outcomes.metric(metric).value
        for rows in dict.fromkeys(s.rows for s in distinct):
            alike = [s for s in distinct if s.rows == rows]
            for start in range(0, len(alike), _TOGETHER):
                part = alike[start : start + _TOGETHER]
                sums = np.stack([outcomes.sums(s, metric) for s in part])
                low, high = interval(resampled_values(sums, value, RESAMPLES))
                numbers = {"value": value(sums.sum(1)), "ci_low": low, "ci_high": high}
                measured.append(
                    pd.DataFrame({"content": [s.content for s in part], **numbers}).assign(
                        rows=rows, metric=metric, signature=outcomes.signature(metric, part[0])
                    )
                )
    if not measured:
        return frame(SCORES)
    table = pd.DataFrame([vars(sheet) | {"path": sheet.path.as_posix()} for sheet in sheets])
    table = table.merge(pd.concat(measured), on=["rows", "content"]).sort_values(ORDER, ignore_index=True)
    return typed(table[SCORES.names], SCORES)
