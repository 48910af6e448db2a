"""Digits as words, so that `9` and `neun` are alike. num2words's words; CLDR's signs of decimals and thousands, by Babel.

What it can't know stays an error: years (`1999` becomes one thousand nine hundred and ninety-nine), currencies, signs
such as %, and another way to say the same number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache, partial

from consomme.common.errors import ConsommeError
from consomme.common.languages import base, unspaced
from consomme.common.normalisers.base import Function, Normaliser

NAMES = {"kk": "kz", "nb": "no", "nn": "no"}  # languages that num2words calls otherwise
ENDINGS = {"fr": ("e", "ème"), "it": ("º",)}  # of ordinals, beside the one that num2words writes
SPACES = " \u00a0\u202f"
KEPT = 2**16  # numbers whose words are kept
DIGITS = 15  # that a float holds exactly


def _make(language: str) -> Function:
    if problem := _unfit(language):
        raise ConsommeError(f"normaliser {problem}")
    return partial(_spoken, language=language)


def _unfit(language: str) -> str | None:
    from num2words import CONVERTER_CLASSES

    if _name(language):
        return None
    known = ", ".join(sorted(CONVERTER_CLASSES))
    return f"numbers: num2words has no words for numbers of the language '{language}'; it has {known}. Leave it out"


def _spoken(text: str, language: str) -> str:
    """The text with each number as words: cardinals; with letters after it that make it so, ordinals (4th, 1er)."""
    gap = "" if unspaced(language) else " "

    def words(found: re.Match[str]) -> str:
        whole, fraction, letters = re.sub(r"\D", "", found[1]), found[2] or "", found[3]
        before = text[found.start() - 1 : found.start()]
        said = None if fraction else _ordinal(whole, letters, language)
        rest = "" if said else letters
        said = said or _cardinal(whole, fraction, language)
        return f"{gap if before.isalnum() else ''}{said}{gap if rest else ''}{rest}"

    return _numbers(language).sub(words, text)


@lru_cache(KEPT)
def _cardinal(whole: str, fraction: str, language: str) -> str:
    """Digit by digit if it begins with zeros, or is more than num2words can say or a float can hold."""
    if (len(whole + fraction) <= DIGITS) if fraction else (len(whole) == 1 or int(whole[0])):
        # not Decimal: some languages of num2words drop its decimals
        number = float(f"{whole}.{fraction}") if fraction else int(whole)
        if (found := _convert(number, language, "cardinal")) is not None:
            return found
    gap = "" if unspaced(language) else " "
    return gap.join(_convert(int(digit), language, "cardinal") or digit for digit in whole + fraction)


@lru_cache(KEPT)
def _ordinal(whole: str, letters: str, language: str) -> str | None:
    """None unless the letters are those that follow the digits of this ordinal."""
    if not letters:
        return None
    number, ending = int(whole), letters.lower()
    usual = ending in ENDINGS.get(base(language), ()) and number > 1
    if usual or _convert(number, language, "ordinal_num") == f"{number}{ending}":
        return _convert(number, language, "ordinal")
    return None


def _convert(number: float, language: str, kind: str) -> str | None:
    from num2words import num2words

    try:
        return " ".join(str(num2words(number, lang=_name(language), to=kind)).replace(",", "").split())
    except Exception:  # which one it raises for what it can't say differs from language to language
        return None


@cache
def _name(code: str) -> str | None:
    """The language as num2words calls it; None if it doesn't know it."""
    from num2words import CONVERTER_CLASSES

    return next((name for name in _variants(code) if name in CONVERTER_CLASSES), None)


def _variants(code: str) -> Iterator[str]:
    """pt_BR, then pt."""
    language = base(code)
    yield from (f"{language}_{part.upper()}" for part in re.split("[-_]", code)[1:])
    yield NAMES.get(language, language)


@cache
def _numbers(language: str) -> re.Pattern[str]:
    """Groups: the whole part, perhaps with signs between thousands; the decimals; the letters right after it."""
    point, comma = ".", ","
    from babel.core import Locale, UnknownLocaleError
    from babel.numbers import get_decimal_symbol, get_group_symbol

    for name in (*_variants(language), base(language)):
        try:
            locale = Locale.parse(name)
        except (UnknownLocaleError, ValueError):
            continue
        point, comma = get_decimal_symbol(locale), get_group_symbol(locale)
        break
    thousands = f"[{re.escape(SPACES if comma in SPACES else comma)}]"
    # in India the digits before the last three stand in pairs
    others = r"\d{2,3}" if comma == "," else r"\d{3}"
    grouped = rf"\d{{1,3}}(?:{thousands}{others})*{thousands}\d{{3}}(?!\d)"
    return re.compile(rf"(?<!\d)({grouped}|\d+)(?:{re.escape(point)}(\d+))?([^\W\d_]*)")


NUMBERS = Normaliser("numbers", _make, unfit=_unfit, by_language=lambda language: True, packages=("num2words",))
