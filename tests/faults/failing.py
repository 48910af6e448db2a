"""The fault injector: failing.c, compiled once, and how to arm it. It works in processes that were started with it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("failing.c")
KINDS = ("write", "close", "create", "rename", "link", "fsync", "read", "lock", "chmod")  # as in failing.c


def compiled(folder: Path) -> Path | None:
    """The library, made in `folder`; None on a machine without a C compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return None
    library = folder / "failing.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library


def loading(library: Path) -> dict[str, str]:
    """The environment of a process that has the injector."""
    return {**os.environ, "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}


def arm(kind: str, nth: int, error: int, lasting: bool, folder: Path) -> None:
    """From now on the nth call of a kind on what lies below `folder` fails, and with `lasting` each one after it. 0: none; all
    are counted."""
    _library().failing_arm(os.fsencode(folder.resolve()), KINDS.index(kind), nth, error, lasting)


def disarm() -> None:
    """No call fails, and none is counted, from now on."""
    _library().failing_arm(b"", -1, 0, 0, 0)


def count(kind: str) -> int:
    """How many calls of a kind there were since it was armed."""
    return _library().failing_count(KINDS.index(kind))


def _library() -> ctypes.CDLL:
    found = ctypes.CDLL(None)  # what is loaded in this process
    found.failing_arm.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_long, ctypes.c_int, ctypes.c_int]
    found.failing_count.restype = ctypes.c_long
    return found


def loaded() -> bool:
    """Whether this process was started with it."""
    return hasattr(ctypes.CDLL(None), "failing_arm")
