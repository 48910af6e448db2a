"""Averages of a sweep's runs compared with the best run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from consomme.report.evidence.claims import Comparison
from consomme.report.lineage import averages
from consomme.report.outcomes import Outcomes


def against_best(outcomes: Outcomes, comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Every average of a sweep's runs compared with the best run, on every test set, by the main metric. Keys: average,
    best, and for each set the comparison (None if it wasn't made)."""
    metric = outcomes.metrics[0] if outcomes.metrics else None
    found = {(c.model, c.against, c.set): c for c in reversed(comparisons) if c.metric == metric}
    rows: list[dict[str, Any]] = [
        {"average": name, "best": best, "sets": {s: found.get((name, best, s)) for s in outcomes.sets("test")}}
        for name, best in averages(outcomes).items()
    ]
    return [row for row in rows if any(row["sets"].values())]
