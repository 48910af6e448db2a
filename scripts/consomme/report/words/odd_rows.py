"""Rows that models could not take, and hypotheses that were cut, in a line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from consomme.evaluate.left_out import first, share
from consomme.report.outcomes import Outcomes, Sheet

TITLES: Mapping[str, str] = {
    "unheard": "Rows that a model can't take, counted as empty hypotheses",
    "cut": "Hypotheses cut, because no end came within decoding.max_new_tokens or the model's positions",
}


def odd_rows(outcomes: Outcomes) -> list[str]:
    """For each of `TITLES` that any model has such rows of: a line with the sets, and of each the model with most of them."""
    lines = []
    for kind, title in TITLES.items():
        found: dict[tuple[str, str], list[Sheet]] = {}
        for sheet in (*outcomes.sheets.values(), *outcomes.others):
            if getattr(sheet, kind):
                found.setdefault((sheet.split, sheet.set), []).append(sheet)
        if found:
            lines.append(f"{title}: {'; '.join(_of_set(kind, sheets) for sheets in found.values())}.")
    return lines


def _of_set(kind: str, sheets: Sequence[Sheet]) -> str:
    """As in `test set t: 6 of 40 (15 %) of base, the most of 3 models`, with the first ids of those not taken."""
    most = max(sheets, key=lambda sheet: len(getattr(sheet, kind)))
    rows, models = getattr(most, kind), len({sheet.model for sheet in sheets})
    ids = f" ({first(rows)})" if kind == "unheard" else ""
    among = f", the most of {models} models" if models > 1 else ""
    return f"{most.split} set {most.set}: {share(len(rows), most.n)} of {most.model}{ids}{among}"
