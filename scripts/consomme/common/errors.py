"""Errors that a user can act on."""

from __future__ import annotations

import difflib
import errno
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from consomme.common.shown import visible

# what a disk answers, and what to do
DISK = {
    errno.EIO: "it can't be read or written; check the disk and its file system",
    errno.ENOSPC: "make room, for instance by `consomme clean`, or link results/ to a larger disk",
    errno.EDQUOT: "make room, for instance by `consomme clean`, or ask for a larger quota",
    errno.EROFS: "it has to be mounted for writing, or results/ linked to another place",
}


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
    """Around a command: print a user's error as one line, with its notes, without a traceback, and exit with code 2. So are
    those of a disk."""
    try:
        yield
    except ConsommeError as error:
        said = " ".join(map(str, (error, *getattr(error, "__notes__", ()))))
    except OSError as error:
        if error.errno not in DISK:
            raise
        place = f"{error.filename}: " if error.filename else ""
        said = f"{place}{error.strerror}: {DISK[error.errno]}. What is finished is kept: run again then"
    else:
        return
    print("error:", visible(said, keep="\n\t"), file=sys.stderr)
    raise SystemExit(2)


def nearest(word: str, allowed: Iterable[str]) -> str:
    """The allowed word most like `word`, as " (did you mean 'x'?)", or an empty string."""
    found = difflib.get_close_matches(str(word), [str(a) for a in allowed], n=1, cutoff=0.6)
    return f" (did you mean '{found[0]}'?)" if found else ""
