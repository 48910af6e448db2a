"""What an averaging method is. This module imports nothing heavy: the plan reads the records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError

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


@dataclass(frozen=True)
class Method:
    """name: the word in configurations; build(mix, folder): fill the empty `folder` with a checkpoint and return what was
    chosen, as JSON; least, most: how many ingredients it takes (most None: any number); settings: the keys of a node that
    it reads, besides choose_on (`base` among them: it needs the model that its ingredients were tuned from);
    needs: those of them that must be given; chooses(settings): whether it looks at development sets under these settings;
    seeded: whether the replicate's seed changes the result; limits: whether it can hold those of choose_on; keeps: what
    the training of its one parent must have kept (a key of `checkpoints`); mixes: whether it makes weights of its own, which its
    ingredients then need one shape for; needs_limits: whether it is nothing without those of choose_on, which are then
    enough to choose by."""

    name: str
    build: Callable[[Mix, Path], dict[str, Any]]
    least: int = 1
    most: int | None = None
    settings: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    chooses: Callable[[Mapping[str, Any]], bool] = lambda settings: False
    seeded: bool = False
    limits: bool = True
    keeps: str | None = None
    mixes: bool = True
    needs_limits: bool = False

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
