"""What to say where a model lacks a side."""

from __future__ import annotations

from consomme.families import Family


def no_side(family: Family, side: str) -> str:
    """Why nothing can be done to the layers of that side."""
    if not family.stacks:
        return f"where the layers of '{family.name}' are is unknown: its architecture is outside the table of families"
    return f"'{family.name}' has no {side}; it has: {', '.join(family.stacks)}"
