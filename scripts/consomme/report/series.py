"""Averages of one node, one for each value of a swept number: what more data, or more steps, is worth with averaging and
without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from consomme.report.evidence.claims import is_run
from consomme.report.outcomes import Outcomes
from consomme.report.tables import Score


@dataclass(frozen=True)
class Series:
    """The averages of a node by one key.

    points: {set, value (of the key), average, runs}: the test score of the average and the mean score of the runs that
    it is made of, each meaned over replicates."""

    node: str
    key: str
    points: tuple[dict[str, Any], ...]

    def gains(self, name: str, sign: int) -> list[tuple[float, float]]:
        """(value of the key, how much better the average is than its runs) on one set; sign: +1 where higher is better."""
        return [(p["value"], sign * (p["average"] - p["runs"])) for p in self.points if p["set"] == name]


def series(outcomes: Outcomes, found: Sequence[Score], metric: str) -> list[Series]:
    """All that an experiment has, in the order of the configuration."""
    scores = {
        (s.model, s.replicate, s.set): s.value
        for s in found
        if (s.split, s.metric) == ("test", metric) and s.decoding == outcomes.spec.get("decoding_digest", s.decoding)
    }
    by_node: dict[tuple[str, str], dict[float, list[dict[str, Any]]]] = {}
    for model in outcomes.models:
        swept = model.get("swept") or {}
        if model["verb"] != "average" or not is_run(model) or len(swept) != 1:
            continue
        ((key, value),) = swept.items()
        if isinstance(value, int | float) and not isinstance(value, bool):
            by_node.setdefault((model["node"], key), {}).setdefault(value, []).append(model)
    made = []
    for (node, key), values in by_node.items():
        points = [
            {"set": name, "value": value, "average": average, "runs": runs}
            for name in outcomes.sets("test")
            for value, models in sorted(values.items())
            for average, runs in [_means(models, name, scores)]
            if average is not None and runs is not None
        ]
        if len({p["value"] for p in points}) > 1:
            made.append(Series(node, key, tuple(points)))
    return made


def _means(
    models: Sequence[dict[str, Any]], name: str, scores: dict[tuple[str, str, str], float]
) -> tuple[float | None, float | None]:
    own = [scores[at] for m in models if (at := (m["name"], m["replicate"], name)) in scores]
    runs = [scores[at] for m in models for p in m["parents"] if (at := (p, m["replicate"], name)) in scores]
    return (mean(own) if own else None), (mean(runs) if runs else None)


def words(found: Series, name: str, sign: int, unit: str) -> str:
    """The gains on one set in a sentence."""
    gains = ", ".join(f"{gain:+.2f} at {value:g}" for value, gain in found.gains(name, sign))
    return f"{found.node} against the mean of its runs on {name}, in {unit}, positive is better: {gains}."
