"""In which ways models are wrong: a table for each test set."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from consomme.report.findings.means import mean_scores
from consomme.report.lineage import named
from consomme.report.outcomes import Outcomes


class Wrong(NamedTuple):
    """The error types of the models on a test set."""

    set: str
    types: list[str]
    # model -> its rate of each type, a mean over replicates
    rows: dict[str, list[float]]


def error_types(outcomes: Outcomes, scores: pd.DataFrame) -> list[Wrong]:
    """A table for each test set, of the models that are no runs of a sweep; none where the task has no such types."""
    types, values = outcomes.details, {}
    for name in types:
        for model, place, value in mean_scores(scores, name)[["model", "set", "value"]].itertuples(index=False):
            values[place, model, name] = value
    tables = []
    for place in outcomes.sets("test"):
        models = [model for model in named(outcomes) if all((place, model, name) in values for name in types)]
        tables.append(Wrong(place, types, {m: [values[place, m, name] for name in types] for m in models}))
    return tables if types else []
