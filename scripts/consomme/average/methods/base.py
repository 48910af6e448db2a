"""What an averaging method is. This module imports nothing heavy: the plan reads the records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from consomme.common.errors import ConsommeError
from consomme.common.settings import Section, keys
from consomme.common.values import Text

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.evaluate.judge import Judge

CURVE = "curve.tsv"


@dataclass(frozen=True)
class Mix:
    """What a method works on.

    parents: name -> model folder, in the order given, the base first where the method has one; settings: those of the
    average node; judge(): the development sets and the choice made on them (calling it reads data and imports torch);
    device: where candidates are tried; renew: what a mix in memory goes through before it is tried, in place (None:
    nothing)."""

    parents: Mapping[str, Path]
    settings: Mapping[str, Any]
    judge: Callable[[], Judge]
    device: str = "cpu"
    renew: Callable[[PreTrainedModel], PreTrainedModel] | None = None

    @property
    def base(self) -> str | None:
        """The name of the base: the first parent's, where the settings have `base`."""
        return next(iter(self.parents)) if self.settings.get("base") else None

    @property
    def ingredients(self) -> list[str]:
        """The parents' names without the base's."""
        return [name for name in self.parents if name != self.base]

    def setting(self, name: str, default: Any) -> Any:
        """A setting, or what stands for it where it is not given."""
        value = self.settings.get(name)
        return default if value is None else value


class WithBase(Section):
    """Settings of a method that works on differences from the model that its ingredients were tuned from."""

    base: Text | None = Field(None, description="the model that all were tuned from; default: their one parent")


@dataclass(frozen=True)
class Method:
    """An averaging method: how it builds a model, and what the plan must know of it."""

    name: str  # the word in configurations
    # fills the empty folder with a checkpoint and returns what was chosen, as JSON
    build: Callable[[Mix, Path], dict[str, Any]]
    least: int = 1  # how many ingredients it takes
    most: int | None = None  # None: any number
    settings: type[Section] = Section  # the keys that a node has for it alone; a subclass of WithBase: it needs a base
    searching: tuple[str, ...] = ()  # those of its keys that have no use unless it looks at development sets
    # whether it looks at development sets under these settings
    chooses: Callable[[Mapping[str, Any]], bool] = lambda settings: False
    seeded: bool = False  # the replicate's seed changes the result
    limits: bool = True  # it can hold the limits of choose_on
    keeps: str | None = None  # what the training of its one parent must have kept, a key of `checkpoints`
    mixes: bool = True  # it computes new weights, so all its ingredients have one shape
    needs_limits: bool = False  # choose_on must have `lose_at_most`; no other goal is required

    @property
    def keys(self) -> list[str]:
        """The names of its settings."""
        return keys(self.settings)

    @property
    def has_base(self) -> bool:
        """Whether it works on differences from a base."""
        return issubclass(self.settings, WithBase)

    def check_parents(self, count: int) -> None:
        """Raise ConsommeError where the number of ingredients does not fit."""
        if count < self.least or (self.most is not None and count > self.most):
            exactly = self.least == self.most
            wanted = f"exactly {self.least}" if exactly else f"at least {self.least}"
            raise ConsommeError(f"the averaging method '{self.name}' takes {wanted} models, {count} given")


def broken_limits(limits: Mapping[str, Mapping[str, Any]]) -> str:
    """By how much a model breaks the limits of choose_on, in words; empty where it keeps them all."""
    return ", ".join(
        f"{s} may be {d['bound']:.2f} worse than {d['of']} ({d['lose_at_most']:g} allowed)"
        for s, d in limits.items()
        if not d["admissible"]
    )


def write_curve(folder: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep what was tried, and what was taken of it, beside the model: curve.tsv."""
    from consomme.common.files import write_text

    lines = ["\t".join(columns), *("\t".join(_cell(row[c]) for c in columns) for row in rows)]
    write_text(folder / CURVE, "\n".join(lines) + "\n")


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    return f"{value + 0.0:.6g}" if isinstance(value, float) else str(value)  # + 0.0: no "-0"
