"""The keys of every node, and its sweep."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from consomme.common.settings import Section


class Sweep(Section):
    """Many settings of one node, each a run. Keys are dotted paths within the node."""

    grid: dict[str, list[Any]] | None = Field(None, description="every combination of the values")
    points: list[dict[str, Any]] | None = Field(None, description="the runs, written out")
    random: dict[str, Any] | None = Field(
        None,
        description="`n` runs drawn with `seed`; other keys: a list to choose from, {uniform: [a, b]} or {log_uniform: [a, b]}",
    )

    @model_validator(mode="after")
    def _one(self) -> Sweep:
        if sum(v is not None for v in (self.grid, self.points, self.random)) != 1:
            raise ValueError("a sweep has one of grid, points, random")
        return self


class Node(Section):
    """The keys of every node."""

    sweep: Sweep | None = Field(None, description="many settings of this node")
