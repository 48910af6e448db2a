"""The smallest model that keeps the limits of choose_on: a choice of one parent, not an average."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from consomme.average.methods.base import Method, Mix, broken_limits, write_curve
from consomme.common.errors import ConsommeError
from consomme.common.log import say

COLUMNS = (
    *("model", "parameters", "set", "metric", "value", "ci_low", "ci_high"),
    *("objective", "admissible", "chosen"),
)


def build(mix: Mix, folder: Path) -> dict[str, Any]:
    """Evaluate each parent and link the files of the one with the fewest parameters that keeps the limits of choose_on.

    Of equally small ones the best, of equals the first. ConsommeError, with amounts, if none keeps the limits. Parents may
    have different shapes. All evaluations are written to curve.tsv and returned."""
    from consomme.families import load
    from consomme.weights.mean import link_model

    judge = mix.judge()
    able: dict[str, tuple[int, float]] = {}
    broken: dict[str, str] = {}
    curve: list[dict[str, Any]] = []
    for name, path in mix.parents.items():
        model = load(path, judge.device)
        size = sum(p.numel() for p in model.parameters())
        objective = judge.objective(model, path)
        keeps, limits = judge.admissible(model, path)
        if keeps and objective > -math.inf:
            able[name] = (size, -objective)
        else:
            broken[name] = broken_limits(limits) or f"its {judge.choice.metric} is not finite"
        for row in judge.rows(model, path):
            curve.append({"model": name, "parameters": size, **row, "objective": objective, "admissible": keeps})
        outside = "" if keeps else f", {broken[name]}"
        say(f"{name}: {size:,} parameters, {judge.text(objective)}{outside}")
    if not able:
        raise ConsommeError(
            f"smallest: no model keeps the limits of choose_on: {'; '.join(f'{n}: {w}' for n, w in broken.items())}. Allow "
            "more (lose_at_most), add a larger model, or give more development data: the bound is one-sided at 95 %"
        )
    chosen = min(able, key=lambda name: able[name])  # the first of equals
    for row in curve:
        row["chosen"] = row["model"] == chosen
    link_model(mix.parents[chosen], folder)
    write_curve(folder, COLUMNS, curve)
    say(f"smallest: {chosen}, {able[chosen][0]:,} parameters")
    return {
        "ingredients": [chosen],
        "tried": list(mix.parents),
        "metric": judge.choice.metric,
        "admissible": {name: name in able for name in mix.parents},
        "curve": curve,
    }


SMALLEST = Method("smallest", build, chooses=lambda settings: True, mixes=False, needs_limits=True)
