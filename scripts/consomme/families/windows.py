"""Short windows: a model whose input has one fixed length (Whisper: 30 s) gets only the length that its batch needs.

`trained_window` in config.json records how a model was trained. Other code doesn't read it and uses the full window, so
both windows are scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from consomme.families.base import Family

KEY = "trained_window"
FULL, SHORT = "full", "short"


def is_short(family: Family, config: Any, decoding: Mapping[str, Any] | None = None) -> bool:
    """Whether a model with this config is to be run on short windows: as `decoding.window` says, else as trained."""
    if not family.windows:
        return False
    return ((decoding or {}).get("window") or getattr(config, KEY, None) or FULL) == SHORT


def fitting(family: Family, short: bool, longest: int) -> dict[str, int]:
    """The argument of `Family.collate` that makes the window fit an example of `longest` frames, or none."""
    return {"frames": family.window(longest)} if short else {}


def alike(
    family: Family, config: Any, decoding: Mapping[str, Any] | None = None
) -> Callable[[float, Sized], float | None]:
    """The grouping key for batches, a function of a row's length and features: rows with equal keys can share a batch
    without padding changing their output. It is the length where padding matters, the window where windows are short,
    and None, the same for all, elsewhere."""
    if family.padding_matters(config):
        return lambda length, features: length
    if is_short(family, config, decoding):
        return lambda length, features: family.window(len(features))
    return lambda length, features: None


def without(decoding: Mapping[str, Any]) -> dict[str, Any]:
    """The decoding settings for `Family.generate`: all that are given except those that the batch already has, the window and
    the previous text."""
    return {k: v for k, v in decoding.items() if k not in ("window", "previous_text") and v is not None}
