"""Formats and families that go together, checked before any job starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consomme.families import TABLE as FAMILIES
from consomme.plan.problems import among, fail
from consomme.plan.schema import ExportNode

if TYPE_CHECKING:
    from consomme.plan.items import Model


def check(node: ExportNode, parent: Model, path: str) -> None:
    """The format exists and the family can be written in it."""
    known = list(dict.fromkeys(e for f in FAMILIES.values() for e in f.exports))
    family = FAMILIES[parent.family] if parent.family else None
    among(f"{path}.format", node.format, family.exports if family else known, "export format")
    if node.format == "safetensors" and node.quantization not in (None, "float16", "bfloat16"):
        fail(f"{path}.quantization", f"safetensors holds float16 or bfloat16; given: {node.quantization}")
