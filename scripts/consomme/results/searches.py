"""The candidates tried before a choice, from the provenance of the chosen models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from consomme.results.columns import SEARCHES
from consomme.results.frames import frame

ORDER = ("step", "swap", "draw", "rank")
CANDIDATE = ("candidate", "model", "layer", "sublayer", "layers", "sublayers", "from")
# the first of these keys that a step has; a set's own value precedes that of all sets
VALUE = ("value", "objective", "score", "influence", "loss", "angle")
JUDGED = ("value", "objective")  # in the metric of the choice; the others name their own measure


def searches(records: Mapping[tuple[str, str], Mapping[str, Any]]) -> pd.DataFrame:
    """The table of searches. records: (model, replicate) -> its provenance."""
    return frame(
        SEARCHES,
        (
            row | {"model": model, "replicate": replicate}
            for (model, replicate), record in records.items()
            for row in _rows(record.get("chosen"))
        ),
    )


def _rows(chosen: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(chosen, Mapping):
        return
    yield from (_row(step, chosen.get("metric")) for step in _steps(chosen, "curve"))
    for step in _steps(chosen, "trace"):  # of an average; scores are in the metric of the choice
        yield _row({"value": step.get("score"), "chosen": step.get("kept"), **step}, chosen.get("metric"))
    for part, plan in (chosen.get("layers") or {}).items():
        gone = {*map(str, plan.get("dropped") or ()), *((plan.get("sublayers") or {}).get("dropped") or ())}
        for step in _steps(plan, "trace"):
            row = _row(step, plan.get("metric"))
            tried = row["candidate"].split()
            yield {"part": part, "chosen": set(tried) <= gone if tried else None} | row


def _steps(found: Mapping[str, Any], key: str) -> Iterable[Mapping[str, Any]]:
    return found.get(key) or ()


def _row(step: Mapping[str, Any], metric: str | None) -> dict[str, Any]:
    measure = next((key for key in VALUE if key in step), "value")
    tried = next((step[key] for key in CANDIDATE if key in step), "")
    return {
        "metric": (metric or "loss") if measure in JUDGED else measure,
        **step,
        "step": next((step[key] for key in ORDER if key in step), None),
        "candidate": " ".join(map(str, tried)) if isinstance(tried, list) else str(tried),
        "value": step.get(measure),
    }
