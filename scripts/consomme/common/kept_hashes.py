"""Hashes of many files, kept by what tells that a file is another, so that asking again costs a look at each file's entry."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from consomme.common.files import read_json, write_text

SETTLED = 2.0  # seconds: a file younger than that may change again without a new time stamp


def stamp(status: os.stat_result) -> list[int]:
    """Size, inode, and the times of the last change of content and of entry, in ns. Any difference, in either direction, makes
    a file worth reading again. The last can't be set, so that one replaced or written in place under an old time is seen."""
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def kept_hashes(
    files: Mapping[str, tuple[str, os.stat_result]], known_at: Path, hash_of: Callable[[str], str]
) -> dict[str, str]:
    """Name -> hash of the bytes of each of `files`: name -> (path, its entry), in their order.

    They are kept in the file `known_at`, if it may be written, together with those of other names. A touched file is read
    again."""
    try:
        known = read_json(known_at)
    except (OSError, ValueError):
        known = {}
    found, kept, now = {}, {}, time.time()
    for name, (path, status) in files.items():
        entry, seen = known.get(name), stamp(status)
        found[name] = entry[-1] if entry and entry[:-1] == seen else hash_of(path)
        # the clocks of two machines differ: a file may be of the future
        if abs(now - status.st_mtime) > SETTLED:
            kept[name] = [*seen, found[name]]
    if any(known.get(name) != entry for name, entry in kept.items()):
        with contextlib.suppress(OSError):
            write_text(known_at, json.dumps(known | kept))
    return found
