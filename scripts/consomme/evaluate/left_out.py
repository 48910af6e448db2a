"""Rows that a model can't use, in words for logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SHOWN = 5  # ids of a reason; a log is read, and the files have them all


def in_words(reasons: Mapping[str, str]) -> str:
    """Rows by reason, as in `2 rows (a, b): too short for the model; 1 row (c): ...`. reasons: id -> reason."""
    by_reason: dict[str, list[str]] = {}
    for row, reason in reasons.items():
        by_reason.setdefault(reason, []).append(row)
    return "; ".join(f"{len(ids)} row{'s' if len(ids) > 1 else ''} ({first(ids)}): {r}" for r, ids in by_reason.items())


def first(ids: Sequence[str]) -> str:
    """The first of the ids in a line."""
    return ", ".join(ids[:SHOWN]) + (", ..." if len(ids) > SHOWN else "")


def share(some: int, whole: int) -> str:
    """A number of rows and their share, as in `6 of 40 (15 %)`."""
    percent = 100 * some / max(whole, 1)
    return f"{some} of {whole} ({percent:.{0 if percent >= 10 else 1}f} %)"
