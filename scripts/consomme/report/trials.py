"""Runs of sweeps with optuna: their values, which are known only now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from consomme.common.files import read_json
from consomme.common.provenance import NAME


def with_values(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The report's spec with the values of all trials among its models' swept keys."""
    return {**spec, "models": [{**model, "swept": _swept(model)} for model in spec["models"]]}


def _swept(model: Mapping[str, Any]) -> dict[str, Any]:
    swept, record = dict(model.get("swept") or {}), Path(model["folder"]) / NAME
    if "trial" in swept and model["verb"] == "train" and record.is_file():
        swept |= (read_json(record).get("trial") or {}).get("values", {})
    return swept
