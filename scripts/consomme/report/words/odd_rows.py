"""Rows that models could not take, and hypotheses that were cut, in a line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from consomme.evaluate.left_out import first, share
from consomme.report.outcomes import Outcomes, Sheet

TITLES: Mapping[str, str] = {
    "unheard": "Rows that a model can't take, counted as empty hypotheses",
    "cut": "Hypotheses cut at the most tokens that were allowed (decoding: {max_new_tokens: N} allows more)",
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
    """As in `test set t: 6 of 40 (15 %) of base (a, b, ...) and no more of 3 others`."""
    most = max(sheets, key=lambda sheet: len(getattr(sheet, kind)))
    rows, others = getattr(most, kind), len({sheet.model for sheet in sheets}) - 1
    more = f" and no more of {others} other{'s' if others > 1 else ''}" if others else ""
    return f"{most.split} set {most.set}: {share(len(rows), most.n)} of {most.model} ({first(rows)}){more}"
