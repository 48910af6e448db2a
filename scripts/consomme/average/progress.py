"""A progress bar for a growing file, on terminals only."""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

SECONDS = 0.1  # between two updates


@contextmanager
def growing(path: Path, size: int, name: str) -> Generator[None]:
    """While the block runs, show the size of the file at `path` on the way to `size` bytes; on stderr, if it is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    done = threading.Event()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=size)

        def look() -> None:
            while not done.wait(SECONDS):
                bar.update(task, completed=path.stat().st_size if path.exists() else 0)

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
