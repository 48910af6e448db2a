"""The course of trainings: what progress.jsonl and the evaluations on development sets say, by step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from consomme.common.files import read_text
from consomme.results.columns import CURVES
from consomme.results.frames import frame


def steps(folder: Path, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A model's lines of progress.jsonl, joined with the evaluations that its provenance `record` holds, by step; nothing
    for a model that was not trained."""
    file = folder / "progress.jsonl"
    lines = read_text(file).splitlines() if file.is_file() else []
    chosen = record.get("chosen")
    evaluations = (chosen.get("evaluations") if isinstance(chosen, dict) else None) or []
    rows: dict[int, dict[str, Any]] = {}
    for step in (*map(json.loads, lines), *evaluations):
        rows.setdefault(step["step"], {}).update(step)
    return [rows[step] for step in sorted(rows)]


def curves(folders: Mapping[tuple[str, str], Path], records: Mapping[tuple[str, str], Any]) -> pd.DataFrame:
    """The table of curves. folders, records: (model, replicate) -> its folder, its provenance."""
    return frame(
        CURVES,
        (
            {"model": model, "replicate": replicate} | row
            for (model, replicate), folder in sorted(folders.items())
            for row in steps(folder, records.get((model, replicate), {}))
        ),
    )
