"""Languages by their codes, however users and models spell these: de, de-DE, de_DE, deu_Latn."""

from __future__ import annotations

import re
from collections.abc import Iterable

# written without spaces between words; a code that names a script is judged by that
UNSPACED = frozenset(["zh", "yue", "wuu", "nan", "hak", "gan", "ja", "th", "lo", "km", "my", "shn", "bo", "dz"])
UNSPACED_SCRIPTS = frozenset(["hans", "hant", "hani", "jpan", "hira", "kana", "thai", "laoo", "khmr", "mymr", "tibt"])


def base(code: str) -> str:
    """The language alone, without script and region, lower case: two letters (ISO 639-1) where there are such, else three.

    deu_Latn, de-DE and de are all `de`, and what CLDR calls the same language is one: cmn is `zh`."""
    first = _parts(code)[0]
    if len(first) == 3:
        from babel.core import get_global

        first = _parts(get_global("language_aliases").get(first, first))[0]
    return first


def spelled_as_in(known: Iterable[str], code: str) -> str:
    """The code among `known` for the same language, such as fra for fr; `code` itself where it is there, or where none or
    several are the same language."""
    known = list(known)
    same = same_language(known, code)
    return same[0] if code not in known and len(same) == 1 else code


def same_language(known: Iterable[str], code: str) -> list[str]:
    """The codes among `known` for the same language."""
    return [other for other in known if base(other) == base(code)]


def unspaced(code: str) -> bool:
    """Whether the language is written without spaces between its words."""
    script = next((part for part in _parts(code)[1:] if re.fullmatch("[a-z]{4}", part)), None)
    return script in UNSPACED_SCRIPTS if script else base(code) in UNSPACED


def _parts(code: str) -> list[str]:
    return re.split("[-_]", code.strip().lower())
