"""Metrics of other programs that gave no scores, in a line each."""

from __future__ import annotations

from consomme.report.outcomes import Outcomes


def failed(outcomes: Outcomes) -> list[str]:
    """What went wrong, and the claims that are not tested because of it."""
    lines = []
    for name, why in outcomes.failed.items():
        claims = [str(n) for n, c in enumerate(outcomes.spec.get("claims", []), 1) if c.get("metric") == name]
        untested = f", and not tested is claim {', '.join(claims)}" if claims else ""
        lines.append(f"No scores of {why}. Its columns are missing{untested}.")
    return lines
