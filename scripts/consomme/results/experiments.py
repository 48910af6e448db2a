"""All tables of all experiments under a folder of results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from consomme.common.errors import ConsommeError
from consomme.common.files import read_json
from consomme.results.columns import TABLES, Table
from consomme.results.curves import curves
from consomme.results.frames import frame, read, typed
from consomme.results.searches import searches


class Results(NamedTuple):
    """The tables of `consomme.results.columns`, each with `experiment` before its own columns."""

    runs: pd.DataFrame
    scores: pd.DataFrame
    groups: pd.DataFrame
    comparisons: pd.DataFrame
    costs: pd.DataFrame
    searches: pd.DataFrame
    curves: pd.DataFrame


def load(folder: Path | str = "results") -> Results:
    """The tables of every experiment below `folder`.

    An experiment without a file has no rows in that table. ConsommeError if the folder doesn't exist.

    >>> results = load("results")  # doctest: +SKIP
    >>> results.costs.merge(results.scores, on=["experiment", "model", "replicate"])  # doctest: +SKIP
    """
    root = Path(folder)
    if not root.is_dir():
        raise ConsommeError(f"no folder {root}: give the folder that holds a folder for each experiment")
    found: dict[str, dict[str, pd.DataFrame]] = {name: {} for name in TABLES}
    for place in sorted(p for p in root.iterdir() if p.is_dir()):
        if not any((place / table.file).is_file() for table in TABLES.values() if table.file):
            continue
        for name, table in TABLES.items():
            if table.file:
                found[name][place.name] = read(place / table.file, table)
        folders = _folders(root, found["runs"][place.name])
        records = {
            key: read_json(file) for key, path in folders.items() if (file := path / "provenance.json").is_file()
        }
        found["searches"][place.name] = searches(records)
        found["curves"][place.name] = curves(folders, records)
    return Results(**{name: _together(table, found[name]) for name, table in TABLES.items()})


def _together(table: Table, parts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    every = [part.assign(experiment=name) for name, part in parts.items()] or [frame(table).assign(experiment="")]
    joined = typed(pd.concat(every, ignore_index=True), table)
    return joined[["experiment", *joined.columns.drop("experiment")]]


def _folders(root: Path, runs: pd.DataFrame) -> dict[tuple[str, str], Path]:
    """(model, replicate) -> its folder. Paths in a table begin with the name of the folder of results."""
    columns = runs[["name", "replicate", "folder"]].itertuples(index=False)
    return {(name, replicate): root.joinpath(*Path(path).parts[1:]) for name, replicate, path in columns}
