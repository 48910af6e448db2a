"""What is asked of runs whose values other runs find: their study, and the values once these are known. generations.py makes
them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from consomme.common.files import read_json
from consomme.plan.items import Model
from consomme.plan.rungs import STUDY

NUMBER = "trial"  # the swept key that tells the runs apart


def of(model: Model) -> dict[str, Any] | None:
    """The settings of the study that finds the values of a run; None if they are known before any job."""
    return model.before[STUDY].identity["settings"]["study"] if STUDY in model.before else None


def values(model: Model) -> dict[str, Any]:
    """The values that a run of a sweep with optuna has, by swept key. Empty for other models, and as long as its study has not
    said them."""
    if NUMBER not in model.swept or model.stage != "train":
        return {}
    if not of(model):
        return {key: value for key, value in model.swept.items() if key != NUMBER}
    marker = Path(model.before[STUDY].marker)
    if not marker.is_file():
        return {}
    return read_json(marker)["chosen"]["study"]["next"][model.identity["trial"]["place"]]
