"""What an augmentation is. This module imports nothing heavy: the plan reads the records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from consomme.families.base import Subwords

# what it changes (a waveform or its features [time, bins] or a sentence), and the utterance's random numbers
Change = Callable[[Any, "np.random.Generator"], Any]


@dataclass(frozen=True)
class Context:
    """What an augmentation may need to know.

    rate: samples a second; stride: mel vectors joined in one frame; root: where relative paths start; longest: samples
    that the model has a window for, None if any number goes; waveform: whether features are the waveform itself;
    subwords: the tokenizer's pieces for a side, "source" or "target"."""

    rate: int = 16000
    stride: int = 1
    root: Path = Path()
    longest: int | None = None
    waveform: bool = False
    subwords: Callable[[str], Subwords | None] | None = None


@dataclass(frozen=True)
class Kind:
    """An augmentation."""

    name: str  # the key below `augment`
    changes: str  # "rows" (which rows are one example), "source" (what features are made of), "tokens" or "features"
    tasks: tuple[str, ...]  # asr, nmt or both
    build: Callable[[Any, Context], Any]  # of its settings and the context
    settings: Any  # the type of its value: a Section, which `true` fills with defaults, or an annotated type
    description: str = ""
