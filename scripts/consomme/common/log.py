"""Log lines of a job: seconds since its start, the job's label, the message."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import suppress

from consomme.common.shown import visible

_begun = time.monotonic()
_who = ""
_silent = False


def begin() -> None:
    """Set the start time of the job to now."""
    global _begun
    _begun = time.monotonic()


def say(line: str) -> None:
    """Write one log line: the seconds since the job began, the job's label, the message."""
    if not _silent:
        shown = visible(line, keep="\n\t")
        # at Ctrl-C what writes the log may end before the job has saved
        with suppress(BrokenPipeError):
            print(f"[{time.monotonic() - _begun:6.1f}s] {_who}{shown}", file=sys.stderr, flush=True)


def silence() -> None:
    """Write no log lines in this process: another one of the same job does."""
    global _silent
    _silent = True


def introduce(label: Mapping[str, str]) -> None:
    """Set the label that begins each line: jobs share a terminal."""
    global _who
    names = [label.get(key) for key in ("experiment", "corpus", "node", "run")]
    replicate = f" #{label['replicate']}" if label.get("replicate") else ""
    _who = "/".join(filter(None, names)) + replicate + ": " if any(names) else ""
