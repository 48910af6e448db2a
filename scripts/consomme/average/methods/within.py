"""Choices of one parent, of whatever shape, within the limits of choose_on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consomme.average.methods.base import Mix, broken_limits, write_curve
from consomme.common.errors import ConsommeError
from consomme.common.log import say
from consomme.evaluate.judge import Judge
from consomme.weights.mean import link_model

COLUMNS = ("set", "metric", "value", "ci_low", "ci_high", "objective", "admissible", "chosen")


@dataclass(frozen=True)
class Candidate:
    """A parent as it was evaluated. objective: higher is better; broken: why it can't be chosen, empty if it can."""

    name: str
    folder: Path
    parameters: int
    objective: float
    broken: str
    rows: list[dict[str, Any]]  # of the curve: set, metric, value, interval


def evaluated(mix: Mix, judge: Judge) -> list[Candidate]:
    """All parents on the development sets, in their order. Exports are evaluated by their own engines. Parents may have
    different shapes."""
    found = []
    for name, path in mix.parents.items():
        model = judge.load(path)
        shape = judge.evaluator(path).running.model if model is None else model
        objective = judge.objective(model, path)
        keeps, limits = judge.admissible(model, path)
        broken = "" if keeps else broken_limits(limits)
        if not broken and objective == -math.inf:
            broken = f"its {judge.choice.metric} is not finite"
        rows = [{**row, "objective": objective, "admissible": keeps} for row in judge.rows(model, path)]
        parameters = sum(p.numel() for p in shape.parameters())
        found.append(Candidate(name, path, parameters, objective, broken, rows))
        say(f"{name}: {parameters:,} parameters, {judge.text(objective)}{', ' * bool(broken)}{broken}")
    return found


def able(method: str, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that keep the limits. ConsommeError, with amounts, if none does."""
    found = [one for one in candidates if not one.broken]
    if not found:
        raise ConsommeError(
            f"{method}: no model keeps the limits of choose_on: {'; '.join(f'{c.name}: {c.broken}' for c in candidates)}. Allow "
            "more (lose_at_most), add a larger model, or give more development data: the bound is one-sided at 95 %"
        )
    return found


def take(
    chosen: Candidate, candidates: Sequence[Candidate], judge: Judge, folder: Path, more: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Link the files of the chosen one into the empty `folder`, write curve.tsv, and return the record of the choice.

    more: columns of the curve by candidate, the same for each."""
    link_model(chosen.folder, folder)
    curve = [
        {"model": one.name, "parameters": one.parameters, **more[one.name], **row, "chosen": one is chosen}
        for one in candidates
        for row in one.rows
    ]
    write_curve(folder, ("model", "parameters", *more[chosen.name], *COLUMNS), curve)
    return {
        "ingredients": [chosen.name],
        "tried": [one.name for one in candidates],
        "metric": judge.choice.metric,
        "admissible": {one.name: not one.broken for one in candidates},
        "curve": curve,
    }
