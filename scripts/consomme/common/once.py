"""Files that several processes want at the same time and one of them makes."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock, Timeout

from consomme.common.log import say


def made_once(path: Path, make: Callable[[], None], waiting: str) -> bool:
    """Make the file `path` by calling `make`, unless it is there. Returns whether it was made now.

    Meanwhile a second process that wants the same file says `waiting`, waits, and then finds it. If the first one is killed,
    the kernel frees its lock, and the second one makes the file. Where the file system has no locks nobody waits, and the
    file is made twice."""
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{path}.lock", fallback_to_soft=False)  # a lock that is a file outlives a killed holder
    with ExitStack() as held:
        try:
            held.enter_context(lock.acquire(timeout=0))
        except Timeout:
            say(waiting)
            held.enter_context(lock.acquire())
        except OSError:
            make()
            return True
        # its name may go while it is held: who waits for it looks at the name again
        held.callback(Path(lock.lock_file).unlink, missing_ok=True)
        if path.exists():
            return False
        make()
    return True


def held(lock: Path) -> bool:
    """Whether a process holds the lock."""
    try:
        with lock.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # gone, or not ours to read
        return False
    return False
