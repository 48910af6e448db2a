"""Short windows: a model whose input has one fixed length (Whisper: 30 s) on the length that its batch needs.

A model says by `trained_window` in its config.json whether it was trained so; other code than ours doesn't read it and
gives it the full window, which is why both are scored."""

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
    """What rows of one batch must have in common, so that none hears what stands beside it, as a function of a row's length
    and features: the length where padding is heard, the window where windows are short, nothing elsewhere."""
    if family.padding_matters(config):
        return lambda length, features: length
    if is_short(family, config, decoding):
        return lambda length, features: family.window(len(features))
    return lambda length, features: None


def without(decoding: Mapping[str, Any]) -> dict[str, Any]:
    """The decoding settings that are for `Family.generate`: what is given, but for the window, which the batch has."""
    return {k: v for k, v in decoding.items() if k != "window" and v is not None}
