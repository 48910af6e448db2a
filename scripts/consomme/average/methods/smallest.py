"""The smallest model that keeps the limits of choose_on: a choice of one parent, not an average."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from consomme.average.methods.base import Method, Mix, broken_limits, write_curve
from consomme.common.errors import ConsommeError
from consomme.common.log import say
from consomme.common.settings import Section
from consomme.formats import weights_of

COLUMNS = (
    *("model", "parameters", "set", "metric", "value", "ci_low", "ci_high"),
    *("objective", "admissible", "chosen"),
)


class Settings(Section):
    """Settings of smallest."""

    size: Literal["parameters", "bytes"] | None = Field(
        None, description="what is small: parameters (default), or the bytes of the files, in which exports differ"
    )


def build(mix: Mix, folder: Path) -> dict[str, Any]:
    """Evaluate each parent and link the files of the one with the fewest parameters, or bytes, that keeps the limits of
    choose_on. Exports are evaluated by their own engines.

    Of equally small ones the best, of equals the first. ConsommeError, with amounts, if none keeps the limits. Parents may
    have different shapes. All evaluations are written to curve.tsv and returned."""
    from consomme.weights.mean import link_model

    judge, by = mix.judge(), mix.settings.get("size") or "parameters"
    able: dict[str, tuple[int, float]] = {}
    broken: dict[str, str] = {}
    curve: list[dict[str, Any]] = []
    for name, path in mix.parents.items():
        model = judge.load(path)
        shape = judge.evaluator(path).running.model if model is None else model
        parameters = sum(p.numel() for p in shape.parameters())
        size = _bytes(path) if by == "bytes" else parameters
        objective = judge.objective(model, path)
        keeps, limits = judge.admissible(model, path)
        if keeps and objective > -math.inf:
            able[name] = (size, -objective)
        else:
            broken[name] = broken_limits(limits) or f"its {judge.choice.metric} is not finite"
        for row in judge.rows(model, path):
            curve.append({"model": name, "parameters": parameters, **row, "objective": objective, "admissible": keeps})
        outside = "" if keeps else f", {broken[name]}"
        say(f"{name}: {size:,} {by}, {judge.text(objective)}{outside}")
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
    say(f"smallest: {chosen}, {able[chosen][0]:,} {by}")
    return {
        "ingredients": [chosen],
        "tried": list(mix.parents),
        "metric": judge.choice.metric,
        "admissible": {name: name in able for name in mix.parents},
        "curve": curve,
    }


def _bytes(folder: Path) -> int:
    """Of the weights."""
    weights = folder / "model.safetensors"
    return sum(path.stat().st_size for path in ([weights] if weights.is_file() else weights_of(folder)))


SMALLEST = Method("smallest", build, settings=Settings, chooses=lambda settings: True, mixes=False, needs_limits=True)
