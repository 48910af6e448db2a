"""Averages of one node for each value of a swept number: the effect of more data, or more steps, with and without
averaging."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from consomme.report.lineage import is_run
from consomme.report.outcomes import Outcomes


@dataclass(frozen=True)
class Series:
    """The averages of a node by one swept key."""

    node: str
    key: str
    # columns: set, value (of the key), average (its test score), runs (mean test score of its ingredients); both scores
    # are means over replicates
    points: pd.DataFrame

    def gains(self, name: str, sign: float) -> list[tuple[float, float]]:
        """(value of the key, gain of the average over its runs) on one set. sign: +1 if higher is better, else -1."""
        points = self.points[self.points["set"] == name]
        return list(zip(points["value"], sign * (points["average"] - points["runs"]), strict=True))


def series(outcomes: Outcomes, scores: pd.DataFrame, metric: str) -> list[Series]:
    """All series of an experiment, in the order of the configuration."""
    made = []
    for model in outcomes.models:
        swept = model.get("swept") or {}
        if model["verb"] == "average" and is_run(model) and len(swept) == 1:
            ((key, value),) = swept.items()
            if isinstance(value, int | float) and not isinstance(value, bool):
                made.append((model["node"], key, value, model["replicate"], model["name"], model["parents"]))
    averages = pd.DataFrame(made, columns=["node", "key", "at", "replicate", "average", "runs"])
    decoding = outcomes.spec.get("decoding_digest")
    tested = scores[(scores["split"] == "test") & (scores["metric"] == metric)]
    tested = tested[tested["decoding"] == decoding] if decoding else tested
    tested = tested[["model", "replicate", "set", "value"]]

    def means(of: str) -> pd.Series:
        values = averages.explode(of).merge(tested, left_on=[of, "replicate"], right_on=["model", "replicate"])
        return values.groupby(["node", "key", "set", "at"])["value"].mean()

    points = pd.concat({of: means(of) for of in ("average", "runs")}, axis=1).dropna()
    points = points.reset_index().rename(columns={"at": "value"}).sort_values("value", kind="stable")
    found = []
    for node, key in averages[["node", "key"]].drop_duplicates().itertuples(index=False):
        mine = points[(points["node"] == node) & (points["key"] == key)].drop(columns=["node", "key"])
        if mine["value"].nunique() > 1:
            found.append(Series(node, key, mine))
    return found


def words(found: Series, name: str, sign: float, unit: str) -> str:
    """The gains on one set in a sentence."""
    gains = ", ".join(f"{gain:+.2f} at {value:g}" for value, gain in found.gains(name, sign))
    return f"{found.node} against the mean of its runs on {name}, in {unit}, positive is better: {gains}."
