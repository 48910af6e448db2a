"""Errors that a user can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConsommeError(Exception):
    """An error that the user can fix. The message names what was given, where, what is allowed, and what to do."""


def nearest(word: str, allowed: Iterable[str]) -> str:
    """The allowed word most like `word`, as " (did you mean 'x'?)", or an empty string."""
    found = difflib.get_close_matches(str(word), [str(a) for a in allowed], n=1, cutoff=0.6)
    return f" (did you mean '{found[0]}'?)" if found else ""
