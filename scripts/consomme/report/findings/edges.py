"""Settings that were chosen at the edge of what was tried: better ones may lie beyond."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from consomme.common.values import spell
from consomme.report.lineage import swept_nodes
from consomme.report.outcomes import Outcomes

LEAST = 3  # values of a setting: of two, each is an edge
ENDS = (0, 1)  # of what is possible, for shares and coefficients, so that nothing may lie beyond
NO_AMOUNTS = ("seed", "trial")

Settings = Mapping[str, Any]


def edges(outcomes: Outcomes) -> list[str]:
    """A line for each model whose chosen setting is the smallest or the largest that was tried, in all replicates."""
    runs = {(m["name"], m["replicate"]): m.get("swept") or {} for m in outcomes.models}
    found: dict[str, list[tuple[Sequence[Settings], Settings]]] = {}
    for node, names in swept_nodes(outcomes).items():
        for replicate in outcomes.replicates:
            winners = outcomes.chosen.get((f"{node}/best", replicate), {}).get("ingredients") or ()
            for winner in [name for name in winners if name in names][:1]:
                tried = [runs.get((name, replicate), {}) for name in names]
                found.setdefault(f"{node}/best", []).append((tried, runs[winner, replicate]))
    for (name, _), chosen in outcomes.chosen.items():
        if isinstance(chosen.get("settings"), Mapping) and chosen.get("curve"):
            found.setdefault(name, []).append((chosen["curve"], chosen["settings"]))
    return [line for name, choices in found.items() for line in _lines(name, choices)]


def _lines(name: str, choices: Sequence[tuple[Sequence[Settings], Settings]]) -> list[str]:
    lines = []
    for key in choices[0][1]:
        tried = sorted({t[key] for all_tried, _ in choices for t in all_tried if _amount(key, t.get(key))})
        taken = {settings.get(key) for _, settings in choices}
        if len(tried) < LEAST or len(taken) > 1 or not (end := taken & {tried[0], tried[-1]} - {*ENDS}):
            continue
        (value,) = end
        which = "smallest" if value == tried[0] else "largest"
        lines.append(f"{name} has the {which} {key} of those tried, {spell(value)}: a better one may lie beyond.")
    return lines


def _amount(key: str, value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and key not in NO_AMOUNTS
