"""Hashes of many files, kept by size and time stamp, so that asking again costs a look at each file's entry."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from consomme.common.files import read_json, write_text

SETTLED = 2.0  # seconds: a file younger than that may change again without a new time stamp


def kept_hashes(
    files: Mapping[str, tuple[str, os.stat_result]], known_at: Path, hash_of: Callable[[str], str]
) -> dict[str, str]:
    """Name -> hash of the bytes of each of `files`: name -> (path, its entry), in their order.

    They are kept in the file `known_at`, together with those of other names. A touched file is read again."""
    try:
        known = read_json(known_at)
    except (OSError, ValueError):
        known = {}
    found, kept, now = {}, {}, time.time()
    for name, (path, status) in files.items():
        stamp = [status.st_size, status.st_mtime_ns]
        entry = known.get(name)
        found[name] = entry[2] if entry and entry[:2] == stamp else hash_of(path)
        if now - status.st_mtime > SETTLED:
            kept[name] = [*stamp, found[name]]
    if any(known.get(name) != entry for name, entry in kept.items()):
        write_text(known_at, json.dumps(known | kept))
    return found
