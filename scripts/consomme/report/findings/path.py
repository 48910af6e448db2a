"""Interpolation between two models, such as a general base and a fine-tuned one: the loss on one set and the gain on
another, by the share of the second model. On development sets, where a point was chosen, and on test sets.

Points are frames: share (of the second model), x, x_low, x_high, y, y_low, y_high (the two sets, means over replicates),
chosen (number of replicates that chose the point)."""

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
    """(the first named model chosen by interpolation, its two development sets, the points tried). Empty if there is none,
    or if it wasn't judged on two sets by one metric (the experiment's, else the loss)."""
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
    """The points of the first node that sweeps an interpolation's share, with its two ends, on two test sets."""
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
    """The columns (bound, set) of a table, renamed to the axes; rows where both sets have a value."""
    return pd.DataFrame({name: table[bound, sets[i]] for name, (bound, i) in AXES.items()}).dropna(subset=["x", "y"])
