"""The sections of the page: which ones there are, and their titles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def contents(shown: Mapping[str, Any]) -> dict[str, str]:
    """Id -> title of the sections that have something to show, in their order. shown: the values of `page.html`."""
    sets = [*shown["sets"], "", ""]
    sections = {
        "models": ("Models", True),
        "training": ("Training", shown["curves"]),
        "pareto": (f"{sets[0]} against {sets[1]}", shown["pareto"]),
        "costs": ("Size and speed", shown["cost_charts"]),
        "pruning": ("Pruned models", shown["has_pruning"]),
        "averages": ("Averages of runs", shown["averages"] or shown["landscapes"] or shown["series"]),
        "domains": ("Specialists merged into one model", shown["domains"]),
        "settings": ("Settings chosen on development sets", shown["chosen_settings"]),
        "choice": ("What was chosen, on development and on test", shown["optimism"]),
        "sentences": ("Sentences", shown["sentences"]),
        "evidence": ("Evidence", True),
        "register": ("When the claims were declared", shown["register"]),
        "overlap": ("Test rows that training has seen", shown["overlaps"] is not None),
        "methods": ("Methods", True),
        "provenance": ("Provenance", True),
    }
    return {key: title for key, (title, there) in sections.items() if there}
