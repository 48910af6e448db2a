"""The line between two models, from one that keeps what it knew to one that has learnt the new: what each share of the second
costs on one set and brings on another. On development sets, where a point was chosen, and on test sets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from consomme.report.evidence.claims import named
from consomme.report.outcomes import Outcomes
from consomme.report.provenance import Records
from consomme.report.tables import Score, mean_scores, swept_nodes

Points = list[dict[str, Any]]  # share of the second model, x, y, their intervals, in how many replicates it was chosen
BOUNDS = ("value", "ci_low", "ci_high")


def on_development(outcomes: Outcomes, provenance: Records, metric: str) -> tuple[str, list[str], Points]:
    """The first named model that was chosen on such a line, two development sets, and the points tried there: means over
    the replicates, with the mean of their intervals. Empty where none says so, or not on two sets by one metric (the
    experiment's, else the loss)."""
    for name in named(outcomes):
        curves = [(provenance.get((name, r)) or {}).get("chosen", {}).get("curve") or [] for r in outcomes.replicates]
        rows = [row for curve in curves for row in curve if "alpha" in row]
        for by in (metric, "loss"):
            sets = list(dict.fromkeys(row["set"] for row in rows if row["metric"] == by))
            points = _points([row for row in rows if row["metric"] == by], sets[:2])
            if len(sets) > 1 and len(points) > 1:
                return name, sets[:2], points
    return "", [], []


def _points(rows: Sequence[Mapping[str, Any]], sets: Sequence[str]) -> Points:
    at: dict[float, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        at[round(float(row["alpha"]), 6)][row["set"]].append(row)
    found = []
    for share, by_set in sorted(at.items()):
        if all(by_set[s] for s in sets) and sets:
            point: dict[str, Any] = {"share": share, "chosen": sum(bool(row.get("chosen")) for row in by_set[sets[0]])}
            for axis, name in zip("xy", sets, strict=False):
                for key, bound in zip((axis, f"{axis}_low", f"{axis}_high"), BOUNDS, strict=True):
                    values = [row[bound] for row in by_set[name] if row.get(bound) is not None]
                    point[key] = float(np.mean(values)) if values else None
            found.append(point)
    return found


def on_test(
    outcomes: Outcomes, provenance: Records, found: Sequence[Score], metric: str, sets: Sequence[str]
) -> Points:
    """The points of the first node that sweeps the share of an interpolation, and its two ends, on two test sets."""
    means = mean_scores([s for s in found if s.split == "test" and s.metric == metric])
    parents = {m["name"]: m["parents"] for m in outcomes.models}
    for runs in swept_nodes(outcomes).values():
        shares = {}
        for name in runs:
            settings = (provenance.get((name, outcomes.replicates[0])) or {}).get("settings") or {}
            if settings.get("method") == "interpolate" and settings.get("alpha") is not None:
                shares[name] = float(settings["alpha"])
        if len(sets) < 2 or len(shares) < 2 or len(shares) < len(runs):
            continue
        shares = {parents[runs[0]][0]: 0.0, **shares, parents[runs[0]][1]: 1.0}
        points = []
        for name, share in sorted(shares.items(), key=lambda pair: pair[1]):
            one, other = (means.get((name, "test", s, metric)) for s in sets[:2])
            if one and other:
                keys = [f"{axis}{part}" for axis in "xy" for part in ("", "_low", "_high")]
                points.append({"share": share, "chosen": 0, **dict(zip(keys, [*one, *other], strict=True))})
        if len(points) > 2:
            return points
    return []
