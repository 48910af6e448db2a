"""Optuna as the sampler of a sweep: the runs so far -> where the next lie.

TPE (Bergstra et al. 2011) is asked anew before each generation, with all that ended before it, in memory. The order of the
runs, their scores and the seed decide the answer, so a job that is started again gives the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common import extras
from consomme.common.digest import digest
from consomme.common.files import read_json
from consomme.common.log import say
from consomme.common.provenance import NAME
from consomme.common.values import spell
from consomme.evaluate.metrics import metric_named

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

COMPLETE, FAILED = "complete", "failed"


def values(asked: Mapping[str, Any], run: Path) -> dict[str, Any]:
    """The values of the searched keys that a run was trained with, from its provenance."""
    record, found = read_json(run / NAME), {}
    for key, space in asked["space"].items():
        here = record
        for part in space["path"]:
            here = here[part]
        found[key] = of_kind(here, space)
    return found


def study(
    asked: Mapping[str, Any], runs: Mapping[str, Path], scores: Mapping[str, float], metric: str
) -> dict[str, Any]:
    """The study after these runs: its settings, its trials in their order, and the values of the next generation (`next`; none
    if the last one isn't whole).

    A run without a finite score, such as one that has diverged, is a failed trial: the sampler leaves it out."""
    extras.require("optuna", "sweep: {optuna: ...}")
    trials = []
    for number, (name, path) in enumerate(runs.items(), 1):
        score = scores.get(name)
        known = score is not None and math.isfinite(score)
        state = {"state": COMPLETE, "value": score} if known else {"state": FAILED, "value": None}
        trials.append({"number": number, "run": name, "values": values(asked, path), **state})
    higher = metric_named(metric).higher_is_better
    whole = len(trials) % asked["batch"] == 0
    found = following(asked, trials, higher) if whole else []
    for one in found:
        say(f"next: {', '.join(f'{key}={spell(value)}' for key, value in one.items())}")
    sampler = {"name": "TPESampler", "optuna": version("optuna"), "metric": metric, "higher_is_better": higher}
    return {**asked, "sampler": sampler, "trials": trials, "next": found}


def following(asked: Mapping[str, Any], trials: Sequence[Mapping[str, Any]], higher: bool) -> list[dict[str, Any]]:
    """The values of the next `batch` runs. higher: whether higher scores are better."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # the first generation is the random start; the others of a generation count as tried, so that all differ
    sampler = optuna.samplers.TPESampler(
        seed=int(digest(["optuna", asked["seed"], asked["generation"]]), 16) % 2**32,
        n_startup_trials=asked["batch"],
        constant_liar=True,
    )
    made = optuna.create_study(direction="maximize" if higher else "minimize", sampler=sampler)
    space = {key: distribution(one) for key, one in asked["space"].items()}
    made.add_trials([told(trial, space) for trial in trials])
    found = [made.ask(fixed_distributions=space).params for _ in range(asked["batch"])]
    return [{key: rounded(one[key], asked["space"][key]) for key in space} for one in found]


def distribution(space: Mapping[str, Any]) -> BaseDistribution:
    """A space as Optuna has it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if "choices" in space:
        return CategoricalDistribution(space["choices"])
    return FloatDistribution(space["low"], space["high"], log=space["log"])


def told(trial: Mapping[str, Any], space: dict[str, BaseDistribution]) -> FrozenTrial:
    """A trial as Optuna has it."""
    from optuna.trial import TrialState, create_trial

    state = TrialState.COMPLETE if trial["state"] == COMPLETE else TrialState.FAIL
    return create_trial(state=state, params=dict(trial["values"]), distributions=space, value=trial["value"])


def rounded(value: Any, space: Mapping[str, Any]) -> Any:
    """A drawn number with four digits, as random sweeps have them, within the bounds; a choice as it is."""
    if "choices" in space:
        return of_kind(value, space)
    return min(max(float(f"{value:.4g}"), space["low"]), space["high"])


def of_kind(value: Any, space: Mapping[str, Any]) -> Any:
    """The value as the space has it: JSON makes 1 of 1.0, which would have another name in tables."""
    return float(value) if space.get("floats", True) and type(value) is int else value
