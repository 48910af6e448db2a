"""Sweeps that stop runs early, in a static graph of jobs.

Each run has a job a rung, and between two rungs stands one choice among all runs. A run that isn't chosen has its further
jobs, too; they end at once, with the model of its last rung.

    run at 200 ─┬─────────────┬→ run at 600 ─┬─────────────┬→ run at 1800
                └→ choice ────┘              └→ choice ────┘
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from consomme.plan.items import Model
from consomme.plan.problems import fail
from consomme.plan.rungs import CHOICE, RUNG
from consomme.plan.verbs import averaging

if TYPE_CHECKING:
    from consomme.plan.schema import Halving
    from consomme.plan.view import Graph

# settings that look at a whole run
WHOLE = {
    "early_stopping_patience": "it would stop runs by a second rule",
    "load_best_model_at_end": "a run is compared, and goes on, with the weights of its rung",
    "checkpoints": "runs that are stopped would keep others than those that reach the end",
}


def in_rungs(graph: Graph, name: str, node: Any, runs: Sequence[Model], halving: Halving, path: str) -> list[Model]:
    """The runs of a training node at the last rung, with the rungs and choices before them."""
    check(runs, halving, path)
    rungs, keep = halving.rungs, Fraction(halving.keep)
    now, left = [_until(run, rungs[0]) for run in runs], len(runs)
    for rung in rungs[1:]:
        left = max(1, math.floor(left * keep))
        chosen = averaging.best(graph, name, node, sorted(now, key=lambda m: m.digest), path, keep=left)
        whole = rung == rungs[-1]
        now = [
            replace(run if whole else _until(run, rung), before={RUNG: at, CHOICE: chosen})
            for run, at in zip(runs, now, strict=True)
        ]
    return now


def _until(run: Model, rung: int) -> Model:
    return replace(run, identity={**run.identity, "until": rung})


def check(runs: Sequence[Model], halving: Halving, path: str) -> None:
    """ConfigurationError unless the runs can be stopped at these rungs."""
    if len(runs) < 2:
        fail(f"{path}.sweep.halving", "runs are stopped for better ones, and there is only one run")
    for settings in (run.identity["settings"] for run in runs):
        if settings["max_steps"] is None:
            fail(f"{path}.num_train_epochs", f"rungs are steps; give max_steps: {halving.rungs[-1]} instead")
        if settings["max_steps"] != halving.rungs[-1]:
            fail(
                f"{path}.sweep.halving.rungs",
                f"the last rung is {halving.rungs[-1]} and max_steps {settings['max_steps']}; they must be equal, as the "
                "schedule spans the whole run",
            )
        for key, why in WHOLE.items():
            if settings.get(key):
                fail(f"{path}.{key}", f"has no place beside sweep.halving: {why}; leave one of them out")
