"""One line for the log of a job: how long it runs, whose line it is, what it says."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

_begun = time.monotonic()
_who = ""


def begin() -> None:
    """Seconds count from now on."""
    global _begun
    _begun = time.monotonic()


def say(line: str) -> None:
    """One line for the log: the seconds since the job began, whose line it is, the line."""
    print(f"[{time.monotonic() - _begun:6.1f}s] {_who}{line}", file=sys.stderr, flush=True)


def introduce(label: Mapping[str, str]) -> None:
    """Jobs share a terminal, so each line says whose it is."""
    global _who
    names = [label.get(key) for key in ("experiment", "corpus", "node", "run")]
    replicate = f" #{label['replicate']}" if label.get("replicate") else ""
    _who = "/".join(filter(None, names)) + replicate + ": " if any(names) else ""
