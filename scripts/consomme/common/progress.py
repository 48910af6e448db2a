"""A bar on standard error, where that is a screen."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def progress(total: float, what: str, done: int = 0) -> Generator[Callable[[float], None]]:
    """What moves the bar on by some. what: what is counted, after its number."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda more: None
        return
    times = TimeElapsedColumn(), TimeRemainingColumn()
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), *times
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"{total:,.0f} {what}", total=total or None, completed=done)
        yield lambda more: bar.advance(task, more)
