"""Runs of sweeps with optuna: their study, and their values once these are known. generations.py makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from consomme.common.files import read_json
from consomme.plan.items import Model
from consomme.plan.rungs import STUDY

NUMBER = "trial"  # the swept key that tells the runs apart


def of(model: Model) -> dict[str, Any] | None:
    """The settings of the study that finds the values of a run, or of the one that it was made of; None if they are known
    before any job."""
    while NUMBER in model.swept:
        if asking := model.before.get(STUDY):
            return asking.identity["settings"]["study"]
        model = next(iter(model.parents.values()))
    return None


def values(model: Model) -> dict[str, Any]:
    """The values, by swept key, that a run of a sweep with optuna has, or the one that it was made of. Empty for other models,
    and as long as the study has not said them."""
    if NUMBER not in model.swept:
        return {}
    known = {key: value for key, value in model.swept.items() if key != NUMBER}
    if asking := model.before.get(STUDY):
        marker = Path(asking.marker)
        found = read_json(marker)["chosen"]["study"]["next"] if marker.is_file() else []
        return {**known, **(found[model.identity["trial"]["place"]] if found else {})}
    return {**values(next(iter(model.parents.values()))), **known}
