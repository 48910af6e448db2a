"""The record of a normaliser. This module imports nothing heavy: the plan reads names and languages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Function = Callable[[str], str]


def _any(language: str) -> None:
    return None


@dataclass(frozen=True)
class Normaliser:
    """Removes the differences between texts that must not count as errors."""

    name: str  # the word in configurations
    # a language's code, empty if unknown -> what normalises a text; it can be pickled, because corpora are read by
    # several processes
    make: Callable[[str], Function]
    unfit: Callable[[str], str | None] = _any  # a language's code -> why it can't be used; None if it can
    by_language: bool = False  # whether what it does depends on the language
    packages: tuple[str, ...] = ()  # whose versions decide what it does, for signatures
