"""Names for models: the `current/` links and the table of runs.

current/[REPLICATE/]NODE[/RUN] -> models/NODE-DIGEST
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from consomme.results.columns import RUNS
from consomme.results.frames import typed


def write_links(models: Sequence[Mapping[str, Any]], out: Path, replicates: Sequence[Any]) -> dict[Path, str]:
    """Make the links in `out/current` to the model folders that exist, and remove all others.

    models: of a report's spec, with name, replicate and folder (relative to the working directory). The path has a
    folder for the replicate only if there are several. Returns link -> target, relative to the link."""
    current = Path(out) / "current"
    wanted: dict[Path, str] = {}
    for model in models:
        folder = Path(model["folder"])
        if not folder.exists():
            continue
        place = current / str(model["replicate"]) if len(replicates) > 1 else current
        link = place / model["name"]
        wanted[link] = os.path.relpath(folder, link.parent)
    current.mkdir(parents=True, exist_ok=True)
    _remove_stale(current, wanted)
    for link, target in wanted.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_symlink() and os.readlink(link) == target:
            continue
        temporary = link.with_name(f".{link.name}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        os.replace(temporary, link)
    return wanted


def _remove_stale(folder: Path, wanted: Mapping[Path, str]) -> None:
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink():
            if entry not in wanted:
                entry.unlink()
        elif entry.is_dir():
            _remove_stale(entry, wanted)
            if not any(entry.iterdir()):
                entry.rmdir()


STOPPED = "stopped_at"  # the step


def runs(models: Sequence[Mapping[str, Any]], stopped: Mapping[tuple[str, str], int] | None = None) -> pd.DataFrame:
    """The table of runs: every model, its folder, and the values of the swept keys; sorted. stopped: (model, replicate) ->
    step, which is another column where there are any.

    A swept key that is named like a column of the table, as `folder` is where checkpoints were given, is `swept.folder`."""
    keys = sorted({key for model in models for key in model.get("swept") or {}})
    names = {key: f"swept.{key}" if key in RUNS.names else key for key in keys}
    rows = [
        {**model, **{names[key]: _spell(value) for key, value in (model.get("swept") or {}).items()}}
        for model in models
    ]
    columns = [*RUNS.names, *names.values()]
    if stopped:
        columns.append(STOPPED)
        rows = [{**row, STOPPED: str(stopped.get((row["name"], str(row["replicate"])), ""))} for row in rows]
    table = pd.DataFrame(rows, columns=columns).astype({"replicate": str})
    return typed(table.fillna("").sort_values(columns, ignore_index=True), RUNS)


def _spell(value: Any) -> str:
    return "none" if value is None else str(value)
