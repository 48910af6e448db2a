"""The languages of a row, from the columns that its table has for them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from consomme.data.sources.base import LANGUAGES, Raw, language_columns
from consomme.data.text import half_characters

SEVERAL = re.compile(r"[\s,;/|+&]+")  # what stands between the codes of a cell that holds several


class Languages:
    """Reads the languages of a corpus's rows. columns: those of the prepared row, empty unless the corpus names a language
    by a column. A side of a pair without a column of its own has the corpus's language."""

    def __init__(self, corpus: Mapping[str, Any], task: str, languages: Sequence[str]) -> None:
        self.task, self.by_column = task, language_columns(corpus, task)
        self.columns: Sequence[str] = LANGUAGES[task] if self.by_column else ()
        self.fixed = dict(zip(LANGUAGES[task], languages, strict=False))

    def __call__(self, raw: Raw) -> tuple[dict[str, str], tuple[str, str] | None]:
        """The row's codes by column, and what is wrong with them as (reason, detail)."""
        found: dict[str, str] = {}
        for role in self.columns:
            if role not in self.by_column:
                found[role] = self.fixed[role]
                continue
            codes = codes_in(raw.languages.get(role))
            if not codes:
                return {}, ("no language", f"column '{self.by_column[role]}' is empty")
            if len(codes) > 1:
                return {}, ("several languages", f"column '{self.by_column[role]}' holds {' and '.join(codes)}")
            if half_characters(codes[0]):
                return {}, ("encoding", f"column '{self.by_column[role]}' has halves of characters")
            found[role] = codes[0]
        return found, None

    def of(self, codes: Mapping[str, str]) -> list[str]:
        """The languages of a row with these codes of its own: that spoken, or of source and target; empty if unknown."""
        return [codes.get(role) or self.fixed.get(role, "") for role in LANGUAGES[self.task]]


def codes_in(cell: Any) -> list[str]:
    """The different codes in a cell, in its order; none in an empty one."""
    cells = cell if isinstance(cell, list | tuple) else [cell]
    words = [word for one in cells if one is not None for word in SEVERAL.split(str(one)) if word]
    return list(dict.fromkeys(words))
