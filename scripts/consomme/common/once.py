"""Files that several processes want at the same time and one of them makes."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from consomme.common.log import say

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # answers of file systems that have none


@contextmanager
def alone(lock: Path) -> Generator[bool]:
    """No other process holds the lock file `lock` meanwhile: waits for one that does. The kernel frees the lock of a process that
    is killed. Where the file system has no locks nobody waits, a line says so, and this gives False."""
    mine = FileLock(lock, fallback_to_soft=False)  # a lock that is a file outlives a killed holder
    try:
        mine.acquire()
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        say(f"caution: {lock.parent} is on a file system without locks: let only one process at a time make this")
        yield False
        return
    try:
        yield True
    finally:
        mine.release()


def made_once(path: Path, make: Callable[[], None], waiting: str) -> bool:
    """Make the file `path` by calling `make`, unless it is there. Returns whether it was made now.

    Meanwhile a second process that wants the same file says `waiting`, waits, and then finds it. If the first one is killed,
    the kernel frees its lock, and the second one makes the file. Where the file system has no locks nobody waits, and the
    file is made twice."""
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{path}.lock", fallback_to_soft=False)
    with ExitStack() as held:
        try:
            held.enter_context(lock.acquire(timeout=0))
        except Timeout:
            say(waiting)
            held.enter_context(lock.acquire())
        except OSError:
            make()
            Path(lock.lock_file).unlink(missing_ok=True)
            return True
        # its name may go while it is held: who waits for it looks at the name again
        held.callback(Path(lock.lock_file).unlink, missing_ok=True)
        if path.exists():
            return False
        make()
    return True


def held(lock: Path) -> bool:
    """Whether a process holds the lock, as far as this one can tell."""
    return _taken(lock) is True


def free(lock: Path) -> bool:
    """Whether no process holds the lock for sure: not where the file system has no locks."""
    return _taken(lock) is False


def _taken(lock: Path) -> bool | None:
    """Whether a process holds the lock; None if this one can't tell."""
    try:
        with lock.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError:  # no locks here, or not ours to read
        return None
    return False
