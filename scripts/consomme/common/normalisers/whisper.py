"""Whisper's own normalisers (Radford et al. 2022, arXiv 2212.04356, appendix C), as transformers has them."""

from __future__ import annotations

import json
from importlib.resources import files
from importlib.util import find_spec

from consomme.common.errors import ConsommeError
from consomme.common.languages import base
from consomme.common.normalisers.base import Function, Normaliser


def _basic(language: str) -> Function:
    """Lower case; symbols, punctuation and combining marks as spaces; nothing that stands in brackets.

    Vowel signs and viramas of Indic scripts, and the signs of Thai, Arabic or Hebrew, are combining marks: words fall
    to pieces there, and wrong vowels don't count."""
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer

    return BasicTextNormalizer()


def _english(language: str) -> Function:
    """Besides, no fillers and no diacritics; contractions in full, numbers as digits, American spelling."""
    if problem := _unfit(language or "en"):
        raise ConsommeError(f"normaliser {problem}")
    import whisper_normalizer
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    # transformers has the rules, and expects the table of spellings from a checkpoint; this package has Whisper's
    spellings = files(whisper_normalizer).joinpath("normalizers", "english.json").read_text(encoding="utf-8")
    return EnglishTextNormalizer(json.loads(spellings))


def _unfit(language: str) -> str | None:
    if base(language) != "en":
        return f"whisper-english is for English, not for '{language}'; use basic, or whisper-basic"
    if find_spec("whisper_normalizer") is None:
        return "whisper-english needs a table of spellings that is not installed: pip install whisper-normalizer"
    return None


WHISPER_BASIC = Normaliser("whisper-basic", _basic, packages=("transformers",))
WHISPER_ENGLISH = Normaliser("whisper-english", _english, unfit=_unfit, packages=("transformers", "whisper-normalizer"))
