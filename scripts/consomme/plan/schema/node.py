"""The keys of every node, and its sweep."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from consomme.common.settings import Section

WAYS = ("grid", "points", "random", "optuna")  # of saying the points of a sweep


class Sweep(Section):
    """Many settings of one node. In `sweep`, keys are dotted paths within the node and each point is a run."""

    grid: dict[str, list[Any]] | None = Field(None, description="every combination of the values")
    points: list[dict[str, Any]] | None = Field(None, description="the points, written out")
    random: dict[str, Any] | None = Field(
        None,
        description="`n` points drawn with `seed`; other keys: a list to choose from, {uniform: [a, b]} or {log_uniform: [a, b]}",
    )

    @model_validator(mode="after")
    def _one(self) -> Sweep:
        ways = [key for key in WAYS if key in type(self).model_fields]
        if sum(getattr(self, key) is not None for key in ways) != 1:
            raise ValueError(f"give one of {', '.join(ways)}")
        return self


class Node(Section):
    """The keys of every node."""

    sweep: Sweep | None = Field(None, description="many settings of this node")
