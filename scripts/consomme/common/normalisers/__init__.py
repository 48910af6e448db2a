"""The table of text normalisers. Raw text is stored; normalisers act at scoring, and on a corpus that asks for one.

A new normaliser is a small file and a line here, or an entry point of another package in the group
`consomme.normalisers` that loads to a `Normaliser`. Importing this imports nothing heavy."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version

from consomme.common.normalisers.base import Function, Normaliser
from consomme.common.normalisers.basic import BASIC
from consomme.common.normalisers.numbers import NUMBERS
from consomme.common.normalisers.verbatim import VERBATIM
from consomme.common.normalisers.whisper import WHISPER_BASIC, WHISPER_ENGLISH
from consomme.common.table import Table

__all__ = ["TABLE", "Function", "Normaliser", "by_language", "normaliser_named", "signature", "words"]

TABLE: Table[Normaliser] = Table(
    "normaliser", "consomme.normalisers", VERBATIM, BASIC, NUMBERS, WHISPER_ENGLISH, WHISPER_BASIC
)


def words(names: str) -> list[str]:
    """The names in a setting: several are joined by +, and act in this order."""
    return [name.strip() for name in names.split("+")]


def normaliser_named(names: str | Function, language: str = "") -> Function:
    """The normaliser of that name, or of several joined by +, for a language's code. A function is returned as it is."""
    if not isinstance(names, str):
        return names
    functions = [TABLE.named(name).make(language) for name in words(names)]
    return functions[0] if len(functions) == 1 else partial(_in_turn, functions)


def by_language(names: str, language: str) -> bool:
    """Whether one of the normalisers treats that language in its own way."""
    return any(TABLE.named(name).by_language(language) for name in words(names))


def signature(names: str | Function) -> str:
    """The names, each with the versions of the packages that decide what it does."""
    if not isinstance(names, str):
        return getattr(names, "__name__", "function")
    return "+".join("-".join([name, *map(version, TABLE.named(name).packages)]) for name in words(names))


def _in_turn(functions: list[Function], text: str) -> str:
    for function in functions:
        text = function(text)
    return text
