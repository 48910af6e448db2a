"""The record of an averaging method. This module imports nothing heavy: the plan reads the records."""

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
    """The inputs of a method."""

    parents: Mapping[str, Path]  # name -> model folder, in the given order, the base first if there is one
    settings: Mapping[str, Any]  # of the average node
    judge: Callable[[], Judge]  # evaluation on the development sets; a call reads data and imports torch
    device: str = "cpu"  # of the evaluation
    # changes an averaged model in place before its evaluation (new batch norm statistics); None: nothing to change
    renew: Callable[[PreTrainedModel], PreTrainedModel] | None = None

    @property
    def base(self) -> str | None:
        """The base's name, that of the first parent; None if the settings have no `base`."""
        return next(iter(self.parents)) if self.settings.get("base") else None

    @property
    def ingredients(self) -> list[str]:
        """The parents' names without the base's."""
        return [name for name in self.parents if name != self.base]

    def setting(self, name: str, default: Any) -> Any:
        """A setting, or `default` if it is not given."""
        value = self.settings.get(name)
        return default if value is None else value


class WithBase(Section):
    """Settings of a method that works on differences from the model that its ingredients were tuned from."""

    base: Text | None = Field(None, description="the model that all were tuned from; default: their common parent")


@dataclass(frozen=True)
class Method:
    """An averaging method: how it builds a model, and the facts that the plan checks."""

    name: str  # the word in configurations
    # fills the empty folder with a checkpoint; returns the choices made, as JSON
    build: Callable[[Mix, Path], dict[str, Any]]
    least: int = 1  # smallest number of ingredients
    most: int | None = None  # largest number of ingredients; None: any
    settings: type[Section] = Section  # its own keys in a node; a subclass of WithBase if it needs a base
    searching: tuple[str, ...] = ()  # its keys that are used only in a search on development sets
    # whether it evaluates on development sets with these settings
    chooses: Callable[[Mapping[str, Any]], bool] = lambda settings: False
    seeded: bool = False  # the replicate's seed changes the result
    limits: bool = True  # it can hold the limits of choose_on
    keeps: str | None = None  # a key of `checkpoints` that its parent's training must have set
    adapters: bool = False  # its parents' trainings must have kept their adapters
    mixes: bool = True  # it computes new weights, so all ingredients must have equal shapes
    needs_limits: bool = False  # choose_on must have `lose_at_most`; no other goal is required

    @property
    def keys(self) -> list[str]:
        """The names of its settings."""
        return keys(self.settings)

    @property
    def has_base(self) -> bool:
        """Whether it works on differences from a base."""
        return issubclass(self.settings, WithBase)

    @property
    def picks(self) -> bool:
        """Whether it returns one of its parents unchanged, so that they may have any shape."""
        return not self.mixes and self.chooses({})

    def check_parents(self, count: int) -> None:
        """Raise ConsommeError if the number of ingredients is not allowed."""
        if count < self.least or (self.most is not None and count > self.most):
            exactly = self.least == self.most
            wanted = f"exactly {self.least}" if exactly else f"at least {self.least}"
            raise ConsommeError(f"the averaging method '{self.name}' takes {wanted} models, {count} given")


def broken_limits(limits: Mapping[str, Mapping[str, Any]]) -> str:
    """The limits of choose_on that a model breaks, with amounts, as text; empty if it keeps all."""
    return ", ".join(
        f"{s} may be {d['bound']:.2f} worse than {d['of']} ({d['lose_at_most']:g} allowed)"
        for s, d in limits.items()
        if not d["admissible"]
    )


def write_curve(folder: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the tried candidates, with the chosen one, to curve.tsv beside the model."""
    from consomme.common.files import write_text

    lines = ["\t".join(columns), *("\t".join(_cell(row[c]) for c in columns) for row in rows)]
    write_text(folder / CURVE, "\n".join(lines) + "\n")


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    return f"{value + 0.0:.6g}" if isinstance(value, float) else str(value)  # + 0.0: no "-0"
