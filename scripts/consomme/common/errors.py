"""Errors that a user can act on."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager


class ConsommeError(Exception):
    """An error that the user can fix. The message names what was given, where, what is allowed, and what to do."""


class Unusable(ConsommeError):
    """One example that a model can't take. Who reads many examples leaves it out or counts it, names it, and goes on.

    reason: the same words for all examples of a kind, to be counted by; detail: of this one."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


@contextmanager
def exit_on_error() -> Generator[None]:
    """Around a command: print a user's error as one line, with its notes, without a traceback, and exit with code 2."""
    try:
        yield
    except ConsommeError as error:
        print("error:", error, *getattr(error, "__notes__", ()), file=sys.stderr)
        raise SystemExit(2) from None


def nearest(word: str, allowed: Iterable[str]) -> str:
    """The allowed word most like `word`, as " (did you mean 'x'?)", or an empty string."""
    found = difflib.get_close_matches(str(word), [str(a) for a in allowed], n=1, cutoff=0.6)
    return f" (did you mean '{found[0]}'?)" if found else ""
