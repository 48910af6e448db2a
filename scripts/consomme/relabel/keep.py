"""Which of the rows that a model has labelled stay."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from consomme.evaluate.metrics import metric_named

Problem = tuple[str, str]  # reason, detail


def sift(
    problems: Sequence[Problem | None],
    confidence: np.ndarray,
    scores: Mapping[str, np.ndarray],
    keep: Mapping[str, float],
) -> list[Problem | None]:
    """Why each row is left out, or None where it is kept.

    problems: of rows whose text can't be used anyway; confidence: [rows], 0..1; scores: metric -> its value on each row,
    in points, for the metrics in `keep`; keep: `confidence`, at least; METRIC, at most where less is better, else at
    least; `share` of the rows that passed all else, the most confident ones, at least one (equals in their order)."""
    found = list(problems)
    for i, problem in enumerate(found):
        if problem is None and confidence[i] < keep.get("confidence", 0.0):
            found[i] = "confidence", f"{confidence[i]:.4f}"
    for name, values in scores.items():
        metric = metric_named(name)
        for i, value in enumerate(values):
            if found[i] is None and metric.gain(value) < metric.gain(keep[name]):
                found[i] = name, f"{value:.2f}"
    if "share" in keep:
        left = [i for i, problem in enumerate(found) if problem is None]
        left.sort(key=lambda i: -confidence[i])
        # the small number undoes what floating point adds: 0.3 of 10 is 3
        for i in left[max(1, math.ceil(keep["share"] * len(left) - 1e-9)) :]:
            found[i] = "share", f"confidence {confidence[i]:.4f}"
    return found
