"""The claims' register on the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from consomme.register.entry import place
from consomme.report.evidence.claims import Comparison
from consomme.report.outcomes import Outcomes
from consomme.report.page.verdicts import verdict
from consomme.report.registered import Registered
from consomme.report.words.register import declared_words, looks, register_lines, untested


def verdicts(claims: Sequence[Comparison], registered: Registered | None) -> list[dict[str, Any]]:
    """The verdicts, with when each claim was declared among their notes."""
    shown = []
    for c in claims:
        found = verdict(c, claims)
        when = declared_words(registered.when(c)) if registered else ""
        shown.append({**found, "notes": f"{found['notes']} {when}".strip()})
    return shown


def section(outcomes: Outcomes, registered: Registered | None) -> dict[str, Any] | None:
    """The section's lines; None without a register in the spec."""
    if registered is None:
        return None
    return {
        "path": place(outcomes.spec).as_posix(),
        "untested": [line.replace("**", "") for line in untested(registered)],
        "looks": looks(registered),
        "lines": register_lines(registered),
    }
