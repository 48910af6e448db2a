"""Errors that a user can act on."""

from __future__ import annotations

import difflib
import errno
import os
import shutil
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from consomme.common.shown import size, visible

LARGER = "or link results/ to a larger disk"
# words of torch and Arrow, which read and write by themselves, and don't say why they failed
SILENT = ("PytorchStreamWriter", "PytorchStreamReader", "inline_container", "error closing file")
UNSAID = 0
FEW = 100  # files; a model has some ten
# what a disk answers, what could not be done then, and what to do
DISK = {
    errno.ENOSPC: ("written", f"Make room, for instance by `consomme clean`, {LARGER}"),
    errno.EDQUOT: ("written", f"Make room, for instance by `consomme clean`, ask for a larger quota, {LARGER}"),
    errno.EFBIG: ("written", f"Its file system or `ulimit -f` allows no larger file: raise that, {LARGER}"),
    errno.EROFS: ("written", "Have it mounted for writing, or link results/ to another place"),
    errno.EIO: ("read or written", "Check the disk and its connection; `dmesg` may say more"),
    errno.ESTALE: ("read or written", "The connection to its file server was lost: mount it again"),
    errno.ENOTCONN: ("read or written", "The connection to its file server was lost: mount it again"),
    errno.EMFILE: ("opened", "Let this user open more files: `ulimit -n 4096`"),
    UNSAID: ("read or written", f"Make room, {LARGER}, or check the disk"),
} | dict.fromkeys(
    (errno.EACCES, errno.EPERM),
    (
        "read or written by this user",
        "Who shares a folder of results needs a common group, the folder's setgid bit, and umask 002 (docs/clusters.md)",
    ),
)


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
    except Exception as error:
        if (said := in_words(error)) is None:
            raise
    else:
        return
    print("error:", visible(said, keep="\n\t"), file=sys.stderr)
    raise SystemExit(2)


def in_words(error: BaseException) -> str | None:
    """What a user can do something about: a ConsommeError with its notes, or what a disk answered. None of all else."""
    if isinstance(error, ConsommeError):
        return " ".join(map(str, (error, *getattr(error, "__notes__", ()))))
    if (found := of_disk(error)) is None:
        return None
    what, advice = DISK[found.errno or 0]
    place = found.filename2 or found.filename  # of a renaming that which was to be
    room = f"; {_room(place)}" if found.errno == errno.ENOSPC else ""
    return (
        f"{place or 'a file'} could not be {what}: {found.strerror}{room}. {advice}. Then start again: nothing that is finished "
        "is lost"
    )


def of_disk(error: BaseException | None) -> OSError | None:
    """What a disk answered, of an error or of what it came from. Libraries that write by themselves say so in words alone."""
    while error is not None and not isinstance(error, ConsommeError):
        if isinstance(error, OSError) and error.errno is not None:
            return error if error.errno in DISK else None
        if number := _said(str(error)):
            return OSError(number, os.strerror(number))
        if any(words in str(error) for words in SILENT):
            return OSError(UNSAID, "a library failed there, and doesn't say why")
        # the cleaning up of a library, or its own words, may hide what happened first
        error = error.__cause__ or (error.__context__ if isinstance(error, RuntimeError | OSError) else None)
    return None


def _said(text: str) -> int | None:
    """The error of a disk that a library's words are about."""
    return next((n for n in DISK if n and (f"(os error {n})" in text or os.strerror(n) in text)), None)


@contextmanager
def naming(path: Path, temporary: Path) -> Generator[None]:
    """Around the writing of `path` under a temporary name: errors of the disk name it. Those of a stream name nothing, and those
    of some libraries become errors of the disk here."""
    try:
        yield
    except Exception as error:
        if (found := of_disk(error)) is None:
            raise
        inside = str(found.filename2 or found.filename or temporary)
        found.filename, found.filename2 = inside.replace(str(temporary), str(path)), None
        if found is error:
            raise
        raise found from error


def _room(place: str | None) -> str:
    """What is free where a file was to be, in words. What was written of it is removed already."""
    path = Path(place or ".").absolute()
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    found = os.statvfs(there)
    if found.f_files and found.f_favail < FEW:
        return f"{found.f_favail} more files can be made there, which is too few"
    usage = shutil.disk_usage(there)
    return f"{size(usage.free)} of {size(usage.total)} are free there, which is too little"


def nearest(word: str, allowed: Iterable[str]) -> str:
    """The allowed word most like `word`, as " (did you mean 'x'?)", or an empty string."""
    found = difflib.get_close_matches(str(word), [str(a) for a in allowed], n=1, cutoff=0.6)
    return f" (did you mean '{found[0]}'?)" if found else ""
