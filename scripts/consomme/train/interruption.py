"""A signal announces the end of a training: it saves first, and the same command goes on from there.

Schedulers send SIGTERM ahead of a time limit, a preemption or a shutdown, some of them SIGUSR1; Ctrl-C in a terminal sends
SIGINT."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from consomme.common.log import say

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
GO_ON = 75  # exit status: nothing is wrong, start it again (EX_TEMPFAIL of sysexits.h)


class Interrupted(BaseException):
    """The training ends now. The message says what is saved."""


@dataclass
class Interruption:
    """Whether a signal came."""

    came: str = ""  # its name
    # whether the training looks for it after each step; before that there is nothing to save, and it ends at once
    awaited: bool = False


@contextmanager
def interruptible() -> Generator[Interruption]:
    """Around a training: note the signals; end an interrupted one with one line and the exit status GO_ON."""
    found = Interruption()

    def note(number: int, frame: Any) -> None:
        found.came = signal.Signals(number).name
        if not found.awaited:
            raise Interrupted("before the first step")

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield found
    except Interrupted as ended:
        say(f"interrupted by {found.came}: {ended}; the same command goes on from there")
        raise SystemExit(GO_ON) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
