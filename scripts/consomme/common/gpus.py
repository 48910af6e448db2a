"""The GPUs of this machine, leased to its jobs by lock files, so that each job has its own.

Where CUDA_VISIBLE_DEVICES is set, a scheduler or the user has chosen, and nothing is leased."""

from __future__ import annotations

import os
import tempfile
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

VISIBLE = "CUDA_VISIBLE_DEVICES"
DEVICES = Path("/dev")
_held: list[FileLock] = []  # until this process ends


def visible() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if (given := os.environ.get(VISIBLE)) is not None:
        return [name.strip() for name in given.split(",") if name.strip() not in ("", "-1")]
    return [str(number) for number in range(len(list(DEVICES.glob("nvidia[0-9]*"))))]


def lease(wanted: int = 1) -> None:
    """Let this process and those that it starts see `wanted` GPUs: those with the fewest jobs of this user. Call it before CUDA is
    initialised. Nothing happens where there are no more than that, or somebody has chosen."""
    cards = visible()
    if VISIBLE in os.environ or len(cards) <= wanted:
        return
    folder = Path(tempfile.gettempdir()) / f"consomme-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    taken: list[str] = []
    for jobs in count():  # jobs on a card before this one
        for card in cards:
            if card not in taken and len(taken) < wanted and _take(folder / f"{card}.{jobs}"):
                taken.append(card)
        if len(taken) == wanted:
            break
    os.environ[VISIBLE] = ",".join(sorted(taken, key=cards.index))


def _take(path: Path) -> bool:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    _held.append(lock)
    return True
