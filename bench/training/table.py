"""Lines of the table: what was measured, against which peer, with which bar."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

OUT = Path("results/bench/training.json")


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    name: str
    ours: float
    peer: float | None
    ratio: float | None  # ours / peer, median over the rounds
    unit: str
    sign: str = ""  # "≥" or "≤"
    bar: float | None = None  # smallest ("≥") or largest ("≤") allowed ratio, or ours without a peer
    holds: bool | None = None


def line(
    name: str,
    ours: Sequence[float] | float,
    peer: Sequence[float] | float | None,
    unit: str,
    sign: str = "",
    bar: float | None = None,
) -> Line:
    """A line of one value, or of one value per round."""
    mine = [ours] if isinstance(ours, float | int) else list(ours)
    if peer is None:
        ratio, theirs = None, None
    else:
        others = [peer] if isinstance(peer, float | int) else list(peer)
        ratio = statistics.median(o / p for o, p in zip(mine, others, strict=True))
        theirs = statistics.median(others)
    judged = statistics.median(mine) if ratio is None else ratio
    holds = None if bar is None else (judged >= bar if sign == "≥" else judged <= bar)
    return Line(name, statistics.median(mine), theirs, ratio, unit, sign, bar, holds)


def show(lines: Sequence[Line]) -> None:
    """The rows of a Markdown table."""
    for one in lines:
        cells = [f"{value:.3g} {one.unit}".strip() if value is not None else "" for value in (one.ours, one.peer)]
        ratio = "" if one.ratio is None else f"{one.ratio:.3g}"
        bar, holds = "" if one.bar is None else f"{one.sign} {one.bar:g}", {True: "yes", False: "no", None: ""}
        print(f"| {one.name} | {cells[0]} | {cells[1]} | {ratio} | {bar} | {holds[one.holds]} |", flush=True)


def keep(section: str, lines: Sequence[Line]) -> None:
    """Write the rows of a section to the file, and keep those of other sections."""
    OUT.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else []
    rows = [row for row in known if row["section"] != section] + [{"section": section, **asdict(x)} for x in lines]
    OUT.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
