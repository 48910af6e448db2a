"""Case, punctuation and symbols don't count, in any script."""

from __future__ import annotations

import re
import unicodedata

from consomme.common.languages import base
from consomme.common.normalisers.base import Normaliser

# Joiners change the spelling of words in Persian and in Indic scripts, so they are kept
JOINERS = "\u200c\u200d"
DOTTED = re.compile("i\u0307+")  # what İ becomes when it is folded, or lower-cased by another program
DOTLESS = frozenset(["tr", "az", "crh", "gag"])  # languages in which ı is a letter
APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\uff07", "'"))


class _Ignored(dict[int, int | None]):
    """A `str.translate` table that deletes invisible format characters (soft hyphens, direction marks)."""

    def __missing__(self, code: int) -> int | None:
        character = chr(code)
        gone = unicodedata.category(character) == "Cf" and character not in JOINERS
        self[code] = None if gone else code
        return self[code]


class _Separated(dict[int, int]):
    """A `str.translate` table that turns punctuation, symbols and separators into spaces, except apostrophes."""

    def __missing__(self, code: int) -> int:
        character = chr(code)
        category = unicodedata.category(character)
        self[code] = ord(" ") if character != "'" and (category[0] in "PSZ" or category == "Cc") else code
        return self[code]


_IGNORED, _SEPARATED = _Ignored(), _Separated()


def basic(text: str) -> str:
    """Unicode NFKC, case folded, punctuation and symbols as spaces, runs of spaces as one.

    The capital İ of Turkish and its like folds to i, without the dot that Unicode's folding adds. What I folds to depends
    on the language: see `dotless`.

    Apostrophes inside words stay (as '), and so do combining marks: a normaliser that strips the vowel signs of Indic
    scripts makes error rates look too low. Normalising twice changes nothing."""
    text = DOTTED.sub("i", unicodedata.normalize("NFKC", text.translate(_IGNORED)).casefold())
    text = unicodedata.normalize("NFKC", text.translate(APOSTROPHES)).translate(_SEPARATED)
    words = (_bare(re.sub("'{2,}", "'", word)) for word in text.split())
    return " ".join(word for word in words if word)


def dotless(text: str) -> str:
    """The same for languages in which I is the capital of ı."""
    return basic(unicodedata.normalize("NFKC", text).replace("I", "ı"))


def _bare(word: str) -> str:
    """The word without apostrophes at its edges, and without marks and joiners before its first letter."""
    start = 0
    while start < len(word) and (word[start] in f"'{JOINERS}" or unicodedata.category(word[start])[0] == "M"):
        start += 1
    return word[start:].rstrip("'")


def _is_dotless(language: str) -> bool:
    return base(language) in DOTLESS


BASIC = Normaliser("basic", lambda language: dotless if _is_dotless(language) else basic, by_language=_is_dotless)
