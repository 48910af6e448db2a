"""The top layers go."""

from __future__ import annotations

from typing import Any

from consomme.prune.choosers.base import Chooser, Objective


def choose(depth: int, drop: int, objective: Objective | None = None) -> tuple[list[int], list[dict[str, Any]]]:
    """The last `drop` layers."""
    return list(range(depth - drop, depth)), []


TRUNCATE = Chooser("truncate", False, choose)
