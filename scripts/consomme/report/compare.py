"""Two folders of results side by side: another configuration, seed, or version of the tool."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from consomme.common.errors import ConsommeError
from consomme.common.files import read_json
from consomme.evaluate.metrics import metric_named
from consomme.report.numbers import metric_title, signed
from consomme.report.provenance import flat
from consomme.results.columns import RUNS, SCORES
from consomme.results.frames import read

ROW = ["model", "set", "metric"]
BOUNDS = ["value", "ci_low", "ci_high"]
# of a model's record: what was asked for, and what it was made of
ASKED = ("verb", "settings", "seed", "steps", "share", "train", "corpora", "languages", "versions")
WIDE = 160  # columns of a table written to a file or a pipe
NAMED = 3  # models in one line


def compare(first: Path, second: Path) -> None:
    """Print, for each experiment of both folders, the scores on test sets, their differences (second minus first), and
    what differs in the settings. ConsommeError if a folder holds no results, or both have no experiment in common."""
    console = Console(width=None if sys.stdout.isatty() else WIDE, markup=False, highlight=False)
    for ours, theirs in pairs(first, second):
        console.print(_scores(ours, theirs))
        for line in notes(ours, theirs):
            console.print(line, soft_wrap=True)
        console.print(_settings(ours, theirs))


def pairs(first: Path, second: Path) -> list[tuple[Path, Path]]:
    """The folders of the experiments to compare: those of one name, or the only one of each side."""
    ours, theirs = _experiments(first), _experiments(second)
    if len(ours) == len(theirs) == 1:
        return list(zip(ours.values(), theirs.values(), strict=True))
    both = [name for name in ours if name in theirs]
    if not both:
        raise ConsommeError(
            f"no experiment of one name: {first} has {', '.join(ours)}, {second} has {', '.join(theirs)}; "
            "name one experiment of each: results/EXPERIMENT"
        )
    return [(ours[name], theirs[name]) for name in both]


def _experiments(folder: Path) -> dict[str, Path]:
    found = [folder, *(sorted(folder.iterdir()) if folder.is_dir() else [])]
    named = {place.resolve().name: place for place in found if (place / SCORES.file).is_file()}
    if not named:
        raise ConsommeError(
            f"no results in {folder}: give results/EXPERIMENT, which holds {SCORES.file}, or a folder of such folders"
        )
    return named


def scores(first: Path, second: Path) -> pd.DataFrame:
    """model, set, metric, and for each side (suffixes _a, _b) value, ci_low, ci_high: means over replicates, of the models
    and test sets that both have."""
    sides = []
    for folder in (first, second):
        found = read(folder / SCORES.file, SCORES)
        found = found[(found["split"] == "test") & (found["way"] == "")]
        sides.append(found.groupby(ROW, sort=False)[BOUNDS].mean().reset_index())
    return sides[0].merge(sides[1], on=ROW, suffixes=("_a", "_b"))


def settings(first: Path, second: Path) -> dict[tuple[str, str, str], list[str]]:
    """(key, value of the first, value of the second) -> the models that differ so. An empty value: there is none."""
    ours, theirs = _records(first), _records(second)
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for model in ours:
        if model in theirs:
            a, b = ours[model], theirs[model]
            for key in dict.fromkeys([*a, *b]):
                if a.get(key) != b.get(key):
                    found[key, a.get(key, ""), b.get(key, "")].append(model)
    return dict(found)


def notes(first: Path, second: Path) -> list[str]:
    """What can't be compared: models that one side lacks, and metrics that were not counted alike."""
    sides = [read(folder / SCORES.file, SCORES) for folder in (first, second)]
    lines = []
    models = [list(dict.fromkeys(side["model"])) for side in sides]
    for own, other, folder in ((models[0], models[1], first), (models[1], models[0], second)):
        if alone := [name for name in own if name not in other]:
            lines.append(f"only in {folder}: {_listed(alone)}")
    signatures = [side.groupby("metric")["signature"].agg(lambda s: " and ".join(sorted(set(s)))) for side in sides]
    lines += [
        f"{metric_title(str(metric))} was not counted alike: {one} and {other}"
        for metric, one in signatures[0].items()
        if (other := signatures[1].get(metric, one)) != one
    ]
    return lines


def _records(folder: Path) -> dict[str, dict[str, str]]:
    """Model -> dotted key -> value, of its first replicate."""
    found: dict[str, dict[str, str]] = {}
    runs = read(folder / RUNS.file, RUNS)
    for name, path in zip(runs["name"], runs["folder"], strict=True):
        # paths begin with results/EXPERIMENT, wherever the folder lies now
        record = folder.joinpath(*Path(path).parts[2:]) / "provenance.json"
        if name not in found and record.is_file():
            read_record = read_json(record)
            parents = ", ".join(p["name"] for p in read_record.get("parents") or ())
            found[name] = {**dict(flat({k: read_record[k] for k in ASKED if k in read_record})), "parents": parents}
    return found


def _scores(first: Path, second: Path) -> Table:
    table = Table(title=f"A: {first}\nB: {second}", title_justify="left")
    table.add_column("model", no_wrap=True, overflow="fold")
    for column in ("set", "metric"):
        table.add_column(column)
    for column in ("A", "B", "B − A"):
        table.add_column(column, justify="right")
    table.add_column("")
    for row in scores(first, second).to_dict("records"):
        difference = row["value_b"] - row["value_a"]
        words = _words(row, difference)
        style = {"better": "green", "worse": "red"}.get(words.split(",")[0], "")
        table.add_row(
            row["model"], row["set"], metric_title(row["metric"]),
            f"{row['value_a']:.2f}", f"{row['value_b']:.2f}", signed(difference), words, style=style,
        )  # fmt: skip
    return table


def _words(row: Mapping[Any, Any], difference: float) -> str:
    """better or worse, and whether the intervals of the two overlap; this describes, and tests nothing."""
    if not difference:
        return ""
    try:
        higher = metric_named(row["metric"]).higher_is_better
    except ConsommeError:  # of a package that isn't installed here
        return ""
    apart = row["ci_low_a"] > row["ci_high_b"] or row["ci_low_b"] > row["ci_high_a"]
    return ("better" if (difference > 0) == higher else "worse") + ("" if apart else ", intervals overlap")


def _settings(first: Path, second: Path) -> Table | str:
    found = settings(first, second)
    if not found:
        return "No setting of these models differs."
    table = Table(title="what differs", title_justify="left")
    for column in ("setting", "A", "B", "models"):
        table.add_column(column, overflow="fold")
    for (key, a, b), models in found.items():
        table.add_row(key, a, b, _listed(models))
    return table


def _listed(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
