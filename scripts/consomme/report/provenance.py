"""Provenance of models: parents, settings, versions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from consomme.common.files import read_json
from consomme.report.lineage import named, swept_nodes
from consomme.report.outcomes import Outcomes

Records = Mapping[tuple[str, str], Mapping[str, Any]]  # model, replicate -> provenance.json


def records(outcomes: Outcomes) -> dict[tuple[str, str], dict[str, Any]]:
    """The provenance.json of each model that has one."""
    found = {}
    for model in outcomes.models:
        record = Path(model["folder"]) / "provenance.json"
        if record.exists():
            found[model["name"], model["replicate"]] = read_json(record)
    return found


def made(model: Mapping[str, Any]) -> dict[str, str]:
    """A model's folder and parents, as text."""
    parents = list(model.get("parents", []))
    text = ", ".join(parents[:4]) + (f" and {len(parents) - 4} more" if len(parents) > 4 else "")
    return {k: str(model[k]) for k in ("name", "verb", "replicate", "folder")} | {"parents": text}


def settings(outcomes: Outcomes, provenance: Records) -> list[dict[str, Any]]:
    """Settings and choices of each named model, and of the first run of each sweep."""
    shown = [*named(outcomes), *(names[0] for names in swept_nodes(outcomes).values())]
    replicate = outcomes.replicates[0]
    tables = []
    for name in shown:
        record = provenance.get((name, replicate))
        if record:
            kept = {k: v for k, v in record.items() if k not in ("label", "versions", "packages", "digest", "weights")}
            tables.append({"name": name, "rows": list(flat(kept))})
    return tables


def flat(value: Any, key: str = "") -> list[tuple[str, str]]:
    """Dotted keys and their values. Lists and empty mappings are values."""
    if isinstance(value, dict) and value:
        return [row for k, v in value.items() for row in flat(v, f"{key}.{k}" if key else str(k))]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return [(key, text if len(text) < 600 else f"{text[:600]} …")]


def versions(provenance: Records) -> str:
    """The versions of the packages that made the models."""
    found: dict[str, set[str]] = {}
    for record in provenance.values():
        for name, version in (record.get("versions") or {}).items():
            found.setdefault(name, set()).add(str(version))
    return ", ".join(f"{name} {' and '.join(sorted(v))}" for name, v in sorted(found.items()))
