"""What an export format is. This module imports nothing heavy: the plan reads the records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from consomme.data.prepared import Rows
    from consomme.families.base import Family


@dataclass(frozen=True)
class Ask:
    """Examples for a model, and how it is to answer: greedily, with at most `max_new_tokens` tokens."""

    family: Family
    rows: Rows
    languages: Sequence[str]
    max_new_tokens: int
    threads: int = 1


@dataclass(frozen=True)
class Format:
    """name: the word in configurations; quantizations: those it writes, None for the precision as it is;
    floats: those of them that keep floating-point weights, from which nearly the same output is expected;
    write(model, folder, quantization, about, work): fill the empty `folder` from a checkpoint, `about` being what a model
    card may tell and `work` a folder for what is only needed on the way;
    say(folder, ask) -> hypotheses: what the written model says, in the order of the rows."""

    name: str
    quantizations: Sequence[str | None]
    floats: Sequence[str | None]
    write: Callable[[Path, Path, str | None, dict[str, Any], Path], None]
    say: Callable[[Path, Ask], list[str]]
