"""Formats and families that go together, checked before any job starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consomme.export.formats import TABLE as FORMATS
from consomme.families import TABLE as FAMILIES
from consomme.plan.problems import among
from consomme.plan.schema import ExportNode

if TYPE_CHECKING:
    from consomme.plan.items import Model


def check(node: ExportNode, parent: Model, path: str) -> None:
    """The family can be written in the format."""
    if parent.family:
        able = [name for name, form in FORMATS.items() if form.fits(FAMILIES[parent.family])]
        among(f"{path}.format", node.format, able, f"export format of '{parent.family}'")
