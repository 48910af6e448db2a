"""Short windows: a model whose input has one fixed length (Whisper: 30 s) gets only the length that its batch needs.

`trained_window` in config.json records how a model was trained. Other code doesn't read it and uses the full window, so
both windows are scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from consomme.families.base import Family

KEY = "trained_window"
FULL, SHORT = "full", "short"
# The least share of the full window with which a model is run. Whisper takes the end of the speech from the silence behind
# it: in windows of a word's length it repeats the word until its positions are used up
LEAST = 1 / 3


@dataclass(frozen=True)
class Window:
    """The window of a model's inputs. short: whether it is that of the batch; least: frames that it then has at least."""

    family: Family
    short: bool
    least: int

    @classmethod
    def of(cls, family: Family, config: Any, decoding: Mapping[str, Any] | None = None) -> Window:
        """That of a model with this config: as `decoding.window` says, else as trained."""
        wanted = (decoding or {}).get("window") or getattr(config, KEY, None) or FULL
        short = family.windows and wanted == SHORT
        return cls(family, short, family.window(round(LEAST * family.full_window(config))) if short else 0)

    @property
    def name(self) -> str:
        """short or full; empty where a family has no windows."""
        return (SHORT if self.short else FULL) if self.family.windows else ""

    def frames(self, longest: int) -> int | None:
        """Frames of the window for an example of `longest` frames; None: the model's own."""
        return max(self.family.window(longest), self.least) if self.short else None

    def fitting(self, features: Sequence[Sized]) -> dict[str, int]:
        """The argument of `Family.collate` that makes the window fit the examples, or none."""
        frames = self.frames(max(map(len, features)))
        return {} if frames is None else {"frames": frames}

    def alike(self, config: Any) -> Callable[[float, Sized], float | None]:
        """The grouping key for batches, a function of a row's length and features: rows with equal keys can share a batch
        without padding changing their output. It is the length where padding matters, the window where windows are short,
        and None, the same for all, elsewhere."""
        if self.family.padding_matters(config):
            return lambda length, features: length
        return lambda length, features: self.frames(len(features))


def without(decoding: Mapping[str, Any]) -> dict[str, Any]:
    """The decoding settings for `Family.generate`: all that are given except those that the batch already has, the window and
    the previous text, that the model already has, its precision, and the engine."""
    return {
        k: v
        for k, v in decoding.items()
        if k not in ("window", "previous_text", "precision", "engine") and v is not None
    }
