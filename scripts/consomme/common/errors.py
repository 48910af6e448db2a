"""Errors that a user can act on."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager


class ConsommeError(Exception):
    """An error that the user can fix. The message names what was given, where, what is allowed, and what to do."""


@contextmanager
def exit_on_error() -> Generator[None]:
    """Around a command: print a user's error as one line, without a traceback, and exit with code 2."""
    try:
        yield
    except ConsommeError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def nearest(word: str, allowed: Iterable[str]) -> str:
    """The allowed word most like `word`, as " (did you mean 'x'?)", or an empty string."""
    found = difflib.get_close_matches(str(word), [str(a) for a in allowed], n=1, cutoff=0.6)
    return f" (did you mean '{found[0]}'?)" if found else ""
