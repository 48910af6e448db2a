"""The scores of all models, with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from consomme.report.evidence import crossed, student
from consomme.report.evidence.paired import mean_pulls, pulls
from consomme.report.outcomes import Outcomes, Sheet
from consomme.results.columns import SCORES
from consomme.results.frames import frame, typed

RESAMPLES = 2000
ORDER = ["model", "replicate", "split", "set", "decoding", "metric"]
_TOGETHER = 32  # models resampled in one product


def scores(outcomes: Outcomes) -> pd.DataFrame:
    """All models on all sets in all metrics, details included, and decodings, with 95 % intervals: by the bootstrap t over
    units, and for the mean over replicates by the variance over units and replicates; sorted."""
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
                values, pull = value(sums.sum(1)), pulls(sums, value)
                low, high = student.interval(values, pull, student.bootstrap_t(pull, RESAMPLES))
                numbers = {"value": values, "ci_low": low, "ci_high": high}
                measured.append(
                    pd.DataFrame({"content": [s.content for s in part], **numbers}).assign(
                        rows=rows, metric=metric, signature=outcomes.signature(metric, part[0])
                    )
                )
    if not measured:
        return frame(SCORES)
    table = pd.DataFrame([vars(sheet) | {"path": sheet.path.as_posix()} for sheet in sheets])
    table = table.merge(pd.concat(measured), on=["rows", "content"])
    table = table.merge(_means(outcomes, sheets), how="left").sort_values(ORDER, ignore_index=True)
    # a lone replicate is its own mean
    table = table.assign(**{f"mean_{end}": table[f"mean_{end}"].fillna(table[f"ci_{end}"]) for end in ("low", "high")})
    return typed(table[SCORES.names], SCORES)


def _means(outcomes: Outcomes, sheets: Sequence[Sheet]) -> pd.DataFrame:
    """The interval of the mean over replicates, of models that have several."""
    places: dict[tuple[str, str, str, str], list[Sheet]] = {}
    for sheet in sheets:
        places.setdefault((sheet.model, sheet.split, sheet.set, sheet.decoding), []).append(sheet)
    rows = []
    for place, several in places.items():
        units = outcomes.units_together(several) if len(several) > 1 else []
        for metric in outcomes.metrics if units else ():
            value = outcomes.metric(metric).value
            sums = [outcomes.sums(s, metric, own) for s, own in zip(several, units, strict=True)]
            pull = mean_pulls([(pulls(x, value), np.unique(own)) for x, own in zip(sums, units, strict=True)])
            low, high = crossed.interval(np.array([value(x.sum(0)) for x in sums]), pull)
            rows.append((*place, metric, float(low), float(high)))
    return pd.DataFrame(rows, columns=["model", "split", "set", "decoding", "metric", "mean_low", "mean_high"])
