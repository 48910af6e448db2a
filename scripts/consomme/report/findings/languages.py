"""Scores by language, where the test sets have several."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consomme.report.outcomes import Outcomes, row_keys

MEAN = "mean"


def by_language(outcomes: Outcomes, metric: str) -> pd.DataFrame:
    """A row for each model and a column for each language of the test sets (of translators: pair of languages), in the order
    of the sets, then their plain mean. A language's score is that of all test rows in it, each counted once, whichever sets
    they stand in; a mean over replicates. Empty if all rows are in one language."""
    value, found = outcomes.metric(metric).value, []
    for replicate in outcomes.replicates:
        parts = list(_parts(outcomes, replicate))
        for model in dict.fromkeys(s.model for s in outcomes.sheets.values() if s.replicate == replicate):
            sums: dict[str, NDArray[np.float64]] = {}
            for name, language, rows in parts:
                statistics = outcomes.statistics(outcomes.sheet(model, replicate, "test", name), metric)
                sums[language] = sums.get(language, np.zeros(statistics.shape[1])) + statistics[rows].sum(axis=0)
            found += [(model, language, float(value(total))) for language, total in sums.items()]
    table = pd.DataFrame(found, columns=["model", "language", "value"])
    if table["language"].nunique() < 2:
        return pd.DataFrame()
    wide = table.groupby(["model", "language"])["value"].mean().unstack("language")
    wide = wide[list(dict.fromkeys(table["language"]))]
    return wide.assign(**{MEAN: wide.mean(axis=1)})


def language_title(languages: tuple[str, ...]) -> str:
    """fr, or en → fr."""
    return " → ".join(languages)


def _parts(outcomes: Outcomes, replicate: str) -> Iterator[tuple[str, str, NDArray[np.int64]]]:
    """Of each test set and language: the numbers of the set's rows in it that no set before has."""
    seen: set[Any] = set()
    names = outcomes.spec["sets"][replicate].get("test", {})
    models = {s.model for s in outcomes.sheets.values() if s.replicate == replicate}
    # a set that was sealed was answered by some models only
    whole = [t for t in names if all((model, replicate, "test", t) in outcomes.sheets for model in models)]
    for name in (name for name in outcomes.sets("test") if name in whole):
        rows = outcomes.rows(names[name])
        fresh: dict[str, list[int]] = {}
        for i, (key, spoken) in enumerate(zip(row_keys(rows), _languages(outcomes, rows), strict=True)):
            if key not in seen:
                seen.add(key)
                fresh.setdefault(language_title(spoken), []).append(i)
        for language, which in fresh.items():
            yield name, language, np.array(which, np.int64)


def _languages(outcomes: Outcomes, rows: Any) -> list[tuple[str, ...]]:
    return rows.languages(outcomes.spec.get("languages") or ())
