"""Sweeps with optuna: the values of their trials, which are known only now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from consomme.common.files import read_json
from consomme.common.provenance import NAME
from consomme.common.values import spell
from consomme.report.outcomes import Outcomes


def with_values(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The report's spec with the values of all trials among the swept keys of their models, and of what each was made into."""
    # model, replicate -> those that it, or what it was made of, has
    values: dict[tuple[str, Any], Mapping[str, Any]] = {}
    for model in spec["models"]:
        record = Path(model.get("folder") or ".") / NAME
        chosen = read_json(record).get("chosen") if model.get("run") == "best" and record.is_file() else None
        for trial in (chosen or {}).get("study", {}).get("trials", ()):
            values[trial["run"], model["replicate"]] = trial["values"]
    models = []
    for model in spec["models"]:
        swept, of = dict(model.get("swept") or {}), (model["name"], model["replicate"])
        if "trial" in swept:
            parent = next(iter(model.get("parents") or ()), "")
            values[of] = {**values.get((parent, model["replicate"]), {}), **values.get(of, {})}
            swept = {**values[of], **swept}
        models.append({**model, "swept": swept})
    return {**spec, "models": models}


def studies(outcomes: Outcomes) -> dict[tuple[str, str], dict[str, Any]]:
    """(node, replicate) -> the study of a sweep with optuna, from the record of its best run, whose number is `best`."""
    found = {}
    for (name, replicate), chosen in outcomes.chosen.items():
        if study := chosen.get("study"):
            best = [trial["number"] for trial in study["trials"] if trial["run"] in chosen["ingredients"]]
            found[name.removesuffix("/best"), replicate] = {**study, "best": best[0]}
    return found


def in_words(values: Mapping[str, Any]) -> str:
    """learning_rate=0.0003, data.share=0.5"""
    return ", ".join(f"{key}={spell(value)}" for key, value in values.items())


def values_in_words(outcomes: Outcomes) -> dict[str, str]:
    """Trial -> its values. Each replicate has a study of its own."""
    found: dict[str, str] = {}
    for trial in (trial for study in studies(outcomes).values() for trial in study["trials"]):
        words = in_words(trial["values"])
        if found.setdefault(trial["run"], words) != words:
            found[trial["run"]] = "other values in each replicate"
    return found


def best_trials(outcomes: Outcomes) -> list[str]:
    """For each sweep with optuna: which trial is the best on the development sets, and its values."""
    found = studies(outcomes)
    lines = []
    for node in dict.fromkeys(node for node, _ in found):
        each = {replicate: study for (name, replicate), study in found.items() if name == node}
        best = []
        for replicate, study in each.items():
            trial = study["trials"][study["best"] - 1]
            where = f" in replicate {replicate}" if len(outcomes.replicates) > 1 else ""
            best.append(f"trial {trial['number']} ({in_words(trial['values'])}){where}")
        count = len(next(iter(each.values()))["trials"])
        lines.append(f"Of the {count} trials of {node}, the best on the development sets is {', '.join(best)}.")
    return lines
