"""Scores and costs over replicates."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from consomme.evaluate.ways import FULL_WINDOW, PREVIOUS_TEXT, TIMESTAMPS
from consomme.families.windows import SHORT
from consomme.report.lineage import swept_nodes
from consomme.report.outcomes import Outcomes

SANE = "sane timestamps, %"  # a split: the share of a test set's rows whose timestamps can be right
BOUNDS = ["value", "ci_low", "ci_high"]
WAYS = (FULL_WINDOW, PREVIOUS_TEXT, TIMESTAMPS, SANE)  # the splits of test sets in other ways, in their order
# columns of costs.tsv: sizes and speeds are averaged like scores, and the speed range covers all replicates
COMBINED = {
    **dict.fromkeys(("parameters", "bytes", "flops", "speed", "memory"), "mean"),
    **dict.fromkeys(("speed_unit", "device", "window", "decoding"), lambda found: " and ".join(sorted(set(found)))),
    # rounds of different measurements can't be paired
    "rounds": lambda found: found.iloc[0] if found.nunique() == 1 else "",
    "speed_low": "min",
    "speed_high": "max",
}


def by_decoding(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores for a page, with each further way of decoding as a separate split, and the share of sane timestamps as
    another."""
    table = scores.assign(split=scores["split"].where(scores["way"] == "", scores["way"]))
    timed = table[table["sane_timestamps"].notna()]
    return pd.concat(
        [table, timed.assign(split=SANE, value=timed["sane_timestamps"], mean_low=math.nan, mean_high=math.nan)]
    )


def mean_scores(scores: pd.DataFrame, metric: str, split: str | None = "test") -> pd.DataFrame:
    """Means over replicates of one metric: model, kind, split, set, value, ci_low, ci_high. The interval is that of the mean,
    over test data and replicates. split: None for all."""
    chosen = scores[(scores["metric"] == metric) & ((scores["split"] == split) | (split is None))]
    means = chosen.groupby(["model", "kind", "split", "set"])[["value", "mean_low", "mean_high"]].mean()
    return means.set_axis(BOUNDS, axis=1).reset_index()


def median_runs(outcomes: Outcomes, scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One row per node with several trained runs, one column per (split, set): the median over the runs that were not stopped
    early, averaged over replicates."""
    trained = {m["node"] for m in outcomes.models if m["verb"] == "train"}
    nodes = {name: node for node, names in swept_nodes(outcomes).items() if node in trained for name in names}
    runs = scores[scores["metric"] == metric].assign(node=lambda found: found["model"].map(nodes))
    if outcomes.stopped:
        whole = [key not in outcomes.stopped for key in zip(runs["model"], runs["replicate"], strict=True)]
        runs = runs[whole]
    medians = runs.groupby(["node", "split", "set", "replicate"])["value"].median()
    return medians.groupby(["node", "split", "set"]).mean().unstack(["split", "set"])


def in_one_window(costs: pd.DataFrame) -> pd.DataFrame:
    """The rows of costs.tsv whose speeds are compared: of a model that was measured in two windows the one in the full
    window, which all models have."""
    two = costs.duplicated(["model", "replicate"], keep=False)
    return costs[~two | (costs["window"] != SHORT)]


def cost_per_model(costs: pd.DataFrame) -> pd.DataFrame:
    """Costs by model name, combined over replicates, whose shapes may differ (the smallest of several models, pruned
    heads). A speed without an interval has the median as both ends."""
    found = in_one_window(costs).groupby("model")[list(COMBINED)].agg(COMBINED).astype({"parameters": np.float64})
    return found.assign(**{end: found[end].fillna(found["speed"]) for end in ("speed_low", "speed_high")})


def speed_unit(costs: pd.DataFrame) -> str:
    """The unit of the speeds of `cost_per_model`, with their window if they have one; empty if none was measured."""
    timed = in_one_window(costs).dropna(subset="speed")
    return next((unit + _of(window) for unit, window in timed[["speed_unit", "window"]].itertuples(index=False)), "")


def speeds_by_window(costs: pd.DataFrame) -> pd.DataFrame:
    """Mean speeds by model, a column for each window that models were measured in: `speed`, or `speed, full window` and
    `speed, short window`."""
    timed = costs.dropna(subset="speed")
    found = timed.groupby(["model", "window"])["speed"].mean().unstack("window")
    return found.rename(columns=lambda window: f"speed{_of(window)}")


def _of(window: str) -> str:
    return f", {window} window" if window else ""
