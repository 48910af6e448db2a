"""Input and result of a check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Asked:
    """The input of the checks."""

    # results/, or the nearest folder above it that exists
    place: Path
    # of the configuration, if one is given
    files: tuple[Path, ...] = ()
    # of the configuration, if it can be planned
    plan: Any = None
    # why it can't be planned
    problem: str = ""
    # a profile's folder, for its partitions
    profile: Path | None = None

    @property
    def models(self) -> list[Any]:
        """The models of the configuration that are not made yet."""
        return [m for m in self.plan.models.values() if not Path(m.marker).exists()] if self.plan else []


@dataclass(frozen=True)
class Finding:
    """The result of a check: one line on the screen."""

    # passed or failed; None if there is nothing to check
    well: bool | None
    said: str
    # what to do if it failed
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """A check of the table."""

    # start of the line
    name: str
    find: Callable[[Asked], Finding]
    # whether it is left out without a configuration
    only_with_plan: bool = field(default=False)
