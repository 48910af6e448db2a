"""What an averaging method is. This module imports nothing heavy: the plan reads the records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError

if TYPE_CHECKING:
    from consomme.average.judge import Judge


@dataclass(frozen=True)
class Mix:
    """What a method works on.

    parents: name -> model folder, in the order given; settings: those of the average node; judge(): the development
    sets and the choice made on them (calling it reads data and imports torch); device: where candidates are tried."""

    parents: Mapping[str, Path]
    settings: Mapping[str, Any]
    judge: Callable[[], Judge]
    device: str = "cpu"


@dataclass(frozen=True)
class Method:
    """name: the word in configurations; build(mix, folder): fill the empty `folder` with a checkpoint and return what was
    chosen, as JSON; least, most: how many parents it takes (most None: any number); settings: the keys of a node that it
    reads, besides choose_on; chooses(settings): whether it looks at development sets under these settings."""

    name: str
    build: Callable[[Mix, Path], dict[str, Any]]
    least: int
    most: int | None
    settings: tuple[str, ...]
    chooses: Callable[[Mapping[str, Any]], bool]

    def check_parents(self, count: int) -> None:
        """Raise ConsommeError where the number of parents does not fit."""
        if count < self.least or (self.most is not None and count > self.most):
            exactly = self.least == self.most
            wanted = f"exactly {self.least}" if exactly else f"at least {self.least}"
            raise ConsommeError(f"the averaging method '{self.name}' takes {wanted} models, {count} given")
