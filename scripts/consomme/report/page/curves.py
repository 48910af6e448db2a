"""The curves of all trainings, thinned for the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from consomme.report.outcomes import Outcomes
from consomme.report.provenance import Records
from consomme.results.curves import steps

POINTS = 120  # of a curve: more than a picture of 400 pixels shows
# column of the table of curves -> key on the page
QUANTITIES = {"loss": "loss", "learning_rate": "rate", "objective": "objective"}


def training_curves(outcomes: Outcomes, records: Records) -> list[dict[str, Any]]:
    """For each training: node, run, replicate, and each quantity that was logged as [steps, values]."""
    found = []
    for model in outcomes.models:
        if model["verb"] != "train":
            continue
        rows = steps(Path(model["folder"]), records.get((model["name"], model["replicate"]), {}))
        drawn = {key: thinned(points(rows, column)) for column, key in QUANTITIES.items()}
        if any(drawn.values()):
            found.append(
                {"node": model["node"], "run": model.get("run") or "", "replicate": model["replicate"]}
                | {key: curve for key, curve in drawn.items() if curve}
            )
    return found


def points(rows: Iterable[Mapping[str, Any]], column: str) -> list[tuple[int, float]]:
    """(step, value) where the column has a finite number."""
    return [(r["step"], r[column]) for r in rows if r.get(column) is not None and math.isfinite(r[column])]


def thinned(curve: list[tuple[int, float]], most: int = POINTS) -> list[list[float]]:
    """[steps, values]: at most `most` points, each the mean of those that it stands for; values with 4 digits."""
    groups = min(len(curve), most)
    cuts = [len(curve) * i // groups for i in range(groups + 1)] if groups else []
    parts = [curve[a:b] for a, b in pairwise(cuts)]
    if not parts:
        return []
    means = [sum(value for _, value in part) / len(part) for part in parts]
    return [[part[-1][0] for part in parts], [float(f"{mean:.4g}") for mean in means]]
