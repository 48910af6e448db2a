"""Codes of languages, as checkpoints spell them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import Unusable, nearest
from consomme.common.languages import same_language

if TYPE_CHECKING:
    from consomme.families.base import Family

# where a saved tokenizer lists its special tokens; not tokenizer.json, which is large
FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
CHOSEN = ("src_lang", "tgt_lang", "language")  # keys that name one language of those that there are


def code_of(language: str, known: Collection[str], family: str) -> str:
    """The model's code for a language: itself, the only one that begins with it, as en_XX with en, or the only one of the
    same language, as eng_Latn with en. Unusable if there is none, or more than one."""
    if language in known:
        return language
    found = [code for code in known if code.startswith(f"{language}_")] or same_language(known, language)
    if len(found) != 1:
        why = f"means {' or '.join(found)}" if found else "is unknown"
        allowed = f"allowed for this {family}: {', '.join(sorted(known))}{nearest(language, known)}"
        raise Unusable(f"languages: '{language}' {why}", allowed)
    return found[0]


def unknown_languages(family: Family, processor: Any, spoken: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Of the languages of rows, those that the model can't be told, and why. Unusable if that holds for all of them."""
    every, strange = set(spoken), dict[tuple[str, ...], Unusable]()
    for languages in every:
        try:
            family.labels(processor, "", languages)
        except Unusable as error:
            strange[languages] = error
    if strange and len(strange) == len(every):
        raise next(iter(strange.values()))
    return {languages: error.reason for languages, error in strange.items()}


def codes_like(pattern: str, folder: Path) -> list[str]:
    """The first group of `pattern` in each special token of the tokenizer in `folder` that matches it; empty if its files
    list none."""
    found = {}
    for name in FILES:
        if (folder / name).is_file():
            for token in _texts(json.loads((folder / name).read_text(encoding="utf-8"))):
                if match := re.fullmatch(pattern, token):
                    found[match[1]] = None
    return list(found)


def _texts(value: Any) -> Iterator[str]:
    """All keys and texts in a JSON value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in CHOSEN:
                yield key
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value
