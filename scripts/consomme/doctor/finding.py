"""What a check is asked and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Asked:
    """place: the folder that results/ lies in or would; files, plan: of the configuration, where one is given and can be
    planned; problem: why it can't; profile: a profile's folder, for its partitions."""

    place: Path
    files: tuple[Path, ...] = ()
    plan: Any = None
    problem: str = ""
    profile: Path | None = None

    @property
    def models(self) -> list[Any]:
        """The models of the configuration that are not made yet."""
        return [m for m in self.plan.models.values() if not Path(m.marker).exists()] if self.plan else []


@dataclass(frozen=True)
class Finding:
    """One line. well: a tick or a cross, None where there is nothing to judge; remedy: what to do about a cross."""

    well: bool | None
    said: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """name: what the line begins with; find: asks; only_with_plan: says nothing where there is no configuration."""

    name: str
    find: Callable[[Asked], Finding]
    only_with_plan: bool = field(default=False)


def size(count: float) -> str:
    """Bytes as GiB or MiB."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
