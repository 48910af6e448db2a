"""The line between two models, from one that keeps what it knew to one that has learnt the new: what each share of the second
costs on one set and brings on another. On development sets, where a point was chosen, and on test sets.

Points are frames: share (of the second model), x, x_low, x_high, y, y_low, y_high (the two sets, means over replicates),
chosen (in how many replicates)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from consomme.report.findings.means import BOUNDS, mean_scores
from consomme.report.lineage import named, swept_nodes
from consomme.report.outcomes import Outcomes
from consomme.report.provenance import Records

AXES = {
    f"{axis}{end}": (bound, i)
    for i, axis in enumerate("xy")
    for end, bound in zip(("", "_low", "_high"), BOUNDS, strict=True)
}


def on_development(outcomes: Outcomes, searches: pd.DataFrame, metric: str) -> tuple[str, list[str], pd.DataFrame]:
    """The first named model that was chosen on such a line, two development sets, and the points tried there. Empty where
    there is none, or not on two sets by one metric (the experiment's, else the loss)."""
    tried = searches[searches["alpha"].notna()]
    tried = tried.assign(share=tried["alpha"].round(6), chosen=tried["chosen"].fillna(False))
    for name in named(outcomes):
        for by in (metric, "loss"):
            found = tried[(tried["model"] == name) & (tried["metric"] == by)]
            sets = list(found["set"].unique())[:2]
            if len(sets) == 2:
                points = _axes(pd.DataFrame(found.groupby(["share", "set"])[BOUNDS].mean().unstack("set")), sets)
                points["chosen"] = found[found["set"] == sets[0]].groupby("share")["chosen"].sum().astype(int)
                if len(points) > 1:
                    return name, sets, points.reset_index()
    return "", [], pd.DataFrame()


def on_test(
    outcomes: Outcomes, provenance: Records, scores: pd.DataFrame, metric: str, sets: Sequence[str]
) -> pd.DataFrame:
    """The points of the first node that sweeps the share of an interpolation, and its two ends, on two test sets."""
    parents = {m["name"]: m["parents"] for m in outcomes.models}
    for runs in swept_nodes(outcomes).values():
        settings = {name: (provenance.get((name, outcomes.replicates[0])) or {}).get("settings") or {} for name in runs}
        shares = {n: s.get("alpha") for n, s in settings.items() if s.get("method") == "interpolate"}
        if len(sets) < 2 or len(runs) < 2 or len(shares) < len(runs) or None in shares.values():
            continue
        first, second = parents[runs[0]]
        line = pd.Series({first: 0.0, **shares, second: 1.0}, dtype=float).sort_values(kind="stable")
        means = mean_scores(scores, metric)
        means = means[means["set"].isin(sets[:2])].pivot(index="model", columns="set", values=BOUNDS)
        points = _axes(means.reindex(index=line.index, columns=pd.MultiIndex.from_product([BOUNDS, sets[:2]])), sets)
        if len(points) > 2:
            return points.assign(share=line, chosen=0).reset_index(drop=True)
    return pd.DataFrame()


def _axes(table: pd.DataFrame, sets: Sequence[str]) -> pd.DataFrame:
    """The columns (bound, set) of a table by the axes' names, where both sets have a value."""
    return pd.DataFrame({name: table[bound, sets[i]] for name, (bound, i) in AXES.items()}).dropna(subset=["x", "y"])
