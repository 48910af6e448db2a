"""The record of a normaliser. This module imports nothing heavy: the plan reads names and languages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Function = Callable[[str], str]


def _any(language: str) -> None:
    return None


def _none(language: str) -> bool:
    return False


@dataclass(frozen=True)
class Normaliser:
    """Removes the differences between texts that must not count as errors."""

    name: str  # the word in configurations
    # a language's code, empty if unknown -> what normalises a text; it can be pickled, because corpora are read by
    # several processes
    make: Callable[[str], Function]
    unfit: Callable[[str], str | None] = _any  # a language's code -> why it can't be used; None if it can
    by_language: Callable[[str], bool] = _none  # whether it treats that language in its own way
    packages: tuple[str, ...] = ()  # whose versions decide what it does, for signatures
