"""Tables of results as data frames: typed as declared, read from and written as tab-separated text."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from consomme.common.files import write_text
from consomme.common.shown import from_cell, one_line, to_cell
from consomme.results.columns import TEXT, Table


def frame(table: Table, rows: Iterable[Any] = ()) -> pd.DataFrame:
    """Rows (dicts, or values in the columns' order) as a typed frame; keys without a column are left out."""
    rows = list(rows)
    return typed(pd.DataFrame(rows, columns=None if rows and isinstance(rows[0], dict) else table.names), table)[
        table.names
    ]


def typed(found: pd.DataFrame, table: Table) -> pd.DataFrame:
    """The frame with the table's columns first, each of its type, and others (swept keys) after them as text."""
    others = [name for name in found.columns if name not in table.columns]
    found = found.reindex(columns=[*table.columns, *others])
    types = {name: kind for name, (kind, _) in table.columns.items()} | dict.fromkeys(others, TEXT)
    text = [name for name, kind in types.items() if kind == TEXT]
    found[text] = found[text].astype(TEXT).fillna("")
    return found.astype(types)


def read(path: Path | str, table: Table) -> pd.DataFrame:
    """A table from its file, typed; without rows if the file doesn't exist. `nan`, `null` and `NA` in text are text."""
    if not Path(path).is_file():
        return frame(table)
    found = pd.read_csv(
        path, sep="\t", dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE, lineterminator="\n", encoding="utf-8"
    )
    numbers = [name for name in found.columns if table.columns.get(name, (TEXT,))[0] != TEXT]
    found[numbers] = found[numbers].apply(pd.to_numeric)
    texts = [name for name in found.columns if name not in numbers]
    found[texts] = found[texts].map(from_cell)
    return typed(found, table)


def write(path: Path, found: pd.DataFrame) -> None:
    """Write a frame as tab-separated text: four decimals, missing numbers empty, text on one line, which is no formula of a
    spreadsheet and has no control characters."""

    def cell(value: Any) -> str:
        if isinstance(value, float) or value is None or value is pd.NA:
            return number(value)
        return to_cell(one_line(str(value).replace("\t", " ")))

    rows = [list(found.columns), *found.itertuples(index=False)]
    write_text(path, "".join("\t".join(map(cell, row)) + "\n" for row in rows))


def number(value: Any) -> str:
    """Four decimals; empty if missing; no negative zero."""
    if pd.isna(value):
        return ""
    text = f"{value:.4f}"
    return text.removeprefix("-") if not text.strip("-0.") else text


def plain(found: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows for JSON: plain values, None for missing numbers."""
    rows = found.astype(object).where(found.notna(), None)
    return [dict(zip(map(str, rows.columns), row, strict=True)) for row in rows.itertuples(index=False)]
