"""The record of an augmentation. This module imports nothing heavy: the plan reads the records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from consomme.families.base import Subwords

# (a waveform, its features [time, bins] or a sentence; the utterance's random generator) -> the changed one
Change = Callable[[Any, "np.random.Generator"], Any]


@dataclass(frozen=True)
class Context:
    """Facts about model and data for an augmentation."""

    rate: int = 16000  # samples per second
    stride: int = 1  # mel vectors joined in one frame
    root: Path = Path()  # the folder that relative paths start from
    longest: int | None = None  # samples in the model's window; None: any number
    waveform: bool = False  # whether features are the waveform itself
    subwords: Callable[[str], Subwords | None] | None = None  # the tokenizer's subwords of a side, "source" or "target"


@dataclass(frozen=True)
class Kind:
    """An augmentation."""

    name: str  # the key below `augment`
    changes: str  # "rows" (joined to one example), "source" (waveform or text), "tokens" or "features"
    tasks: tuple[str, ...]  # asr, nmt or both
    build: Callable[[Any, Context], Any]  # (settings, context) -> the change
    settings: Any  # the type of its value: an annotated type, or a Section (`true` means its defaults)
    description: str = ""
