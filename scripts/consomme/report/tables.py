"""The page's main tables as files for papers and spreadsheets: LaTeX (booktabs), CSV, Markdown."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from consomme.common.files import write_text
from consomme.common.shown import one_line, to_cell


@dataclass(frozen=True)
class Tabular:
    """A table of text."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    # of columns that hold text, from 0; the others hold numbers
    words: Sequence[int] = (0,)


def write_tables(folder: Path, shown: Mapping[str, Any]) -> None:
    """Write tables/NAME.csv, .md and .tex of what the page shows, and remove those of an earlier page. shown: the values of
    `page.html`."""
    found = tables(shown)
    for path in folder.glob("*.*"):
        if path.suffix in FORMATS and path.stem not in found:
            path.unlink()
    for name, table in found.items():
        for suffix, text in FORMATS.items():
            write_text(folder / f"{name}{suffix}", text(table))


def tables(shown: Mapping[str, Any]) -> dict[str, Tabular]:
    """The tables by name: models, claims, and languages where there are several."""
    columns = ["model"]
    for column in shown["columns"]:
        columns += [f"{column['set']} {column['split']}", "95 % interval"]
    rows = [
        [row["name"], *(cell[key] if cell else "" for cell in row["cells"] for key in ("value", "interval"))]
        + ([row["parameters"], *row["speeds"]] if shown["has_costs"] else [])
        for row in (*shown["named_rows"], *shown["run_rows"])
    ]
    found = {"models": Tabular([*columns, *(["parameters", *shown["speeds"]] if shown["has_costs"] else [])], rows)}
    if shown["claims"]:
        names = ("claim", "model", "relation", "set", "metric", "difference", "interval")
        tests = ("p", "p_holm", "p_models", "p_models_holm")
        heads = (
            "claim",
            "model",
            "",
            "set",
            "metric",
            "difference",
            "95 % interval",
            "p, method",
            "p, method (Holm)",
            "p, models",
            "p, models (Holm)",
        )
        claims = [
            [*(claim[name] for name in (*names, *tests)), verdict["word"]]
            for claim, verdict in zip(shown["claims"], shown["verdicts"], strict=True)
        ]
        found["claims"] = Tabular([*heads, "verdict"], claims, (0, 1, 2, 3, 4, 11))
    if shown["languages"]:
        spoken = [[row["name"], *row["cells"]] for rows in shown["language_rows"] for row in rows]
        found["languages"] = Tabular(["model", *shown["languages"]], spoken)
    return found


def as_csv(table: Tabular) -> str:
    """Comma-separated text with plain minus signs and spaces, without formulas."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([to_cell(_plain(cell)) for cell in row] for row in _lines(table))
    return stream.getvalue()


def as_markdown(table: Tabular) -> str:
    """A pipe table."""
    rule = ["---" if i in table.words else "---:" for i in range(len(table.columns))]
    lines = [[re.sub(r"([\\|`*_<\[])", r"\\\1", cell) for cell in row] for row in _lines(table)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (lines[0], rule, *lines[1:]))


def as_latex(table: Tabular) -> str:
    r"""A tabular with the rules of booktabs; \usepackage{booktabs} in the preamble."""
    spec = "".join("l" if i in table.words else "r" for i in range(len(table.columns)))
    head, *rows = (f"{' & '.join(map(_tex, row))} \\\\\n" for row in _lines(table))
    return f"\\begin{{tabular}}{{{spec}}}\n\\toprule\n{head}\\midrule\n{''.join(rows)}\\bottomrule\n\\end{{tabular}}\n"


def _lines(table: Tabular) -> list[list[str]]:
    """The head and the rows, each cell on one line and without control characters."""
    return [[*map(one_line, row)] for row in (table.columns, *table.rows)]


def _plain(text: str) -> str:
    return text.replace("−", "-").replace("\u00a0", " ")


TEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "−": "$-$",
    "–": "--",
    "\u00a0": "~",
}


def _tex(text: str) -> str:
    return "".join(TEX.get(character, character) for character in text)


FORMATS: dict[str, Callable[[Tabular], str]] = {".csv": as_csv, ".md": as_markdown, ".tex": as_latex}
