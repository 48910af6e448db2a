"""The jobs as a table, on the screen and as a page."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from consomme.common.files import write_text
from consomme.common.shown import visible
from consomme.status.jobs import DIVERGED, DONE, FAILED, INTERRUPTED, RUNNING, STATES, WAITING, Job

EVERY = 5.0  # seconds between two looks
COLOURS = {RUNNING: "blue", FAILED: "bold red", INTERRUPTED: "yellow", DIVERGED: "red", DONE: "green", WAITING: "dim"}
FOLDED = (WAITING, DONE)  # states in which jobs of one node are one row, except trainings that are done
WIDE = 160  # columns of the page, and of a table that is written to a file or a pipe
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="UTF-8"><meta http-equiv="refresh" content="{seconds}">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title><style>{{stylesheet}} body {{{{color: {{foreground}}; background: {{background}}; margin: 2em}}}}
pre {{{{font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace; line-height: 1.3}}}}</style></head>
<body><pre><code>{{code}}</code></pre></body></html>
"""


def table(jobs: Iterable[Job], title: str) -> Group:
    """A line with the numbers, and a table with the jobs: first what runs and what went wrong, last what is done."""
    jobs = list(jobs)
    counts = {state: sum(job.state == state for job in jobs) for state in STATES}
    numbers = Text.assemble(
        f"{visible(title)}: {len(jobs)} jobs  ",
        *((f"{n} {state}  ", COLOURS[state]) for state, n in counts.items() if n),
        style="bold",
    )
    found = Table(title_justify="left", expand=False)
    for column in ("job", "state"):
        found.add_column(column, overflow="fold")
    for column in ("step", "loss", "steps/s", "left"):
        found.add_column(column, justify="right", no_wrap=True)
    found.add_column("device, or why", overflow="ellipsis")
    rows: dict[tuple[str, ...], list[Job]] = {}
    for job in jobs:
        alone = job.state not in FOLDED or (job.verb == "train" and job.state == DONE)
        name = " ".join(filter(None, [job.name, job.values])) if alone else job.node
        rows.setdefault((job.state, job.experiment, job.verb, name), []).append(job)
    for (state, experiment, verb, name), alike in sorted(rows.items(), key=lambda row: STATES.index(row[0][0])):
        label = " ".join(filter(None, [verb, "/".join(filter(None, [experiment, name]))]))
        if len(alike) > 1:
            label += f" × {len(alike)}"
        found.add_row(Text(visible(label)), Text(state, COLOURS[state]), *_figures(alike[0]))
    return Group(numbers, found)


def _figures(job: Job) -> list[Text]:
    """Step of steps, loss, steps a second, time left, and the device of a running job or the reason of another."""
    p, running = job.progress, job.state == RUNNING
    if p is None:
        return [*[Text("")] * 4, Text(visible(job.why))]
    return [
        Text(f"{p.step:,}/{p.steps:,}" if p.steps else f"{p.step:,}"),
        Text("" if p.loss is None else f"{p.loss:.4f}"),
        Text(f"{p.rate:.3g}" if p.rate and running else ""),
        Text(_duration(p.left) if p.left is not None and running else ""),
        Text(visible(p.device if running else job.why)),
    ]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def show(look: Callable[[], list[Job]], title: str, page: Path | None = None, watch: bool = False) -> None:
    """Print the table of what `look` finds, and write it to `page`. watch: again and again, until Ctrl-C."""
    console = Console(width=None if sys.stdout.isatty() else WIDE)
    shown = _seen(look, title, page)
    if not watch:
        console.print(shown)
        return
    try:
        with Live(shown, console=console, auto_refresh=False) as live:
            while True:
                time.sleep(EVERY)
                live.update(_seen(look, title, page), refresh=True)
    except KeyboardInterrupt:
        return


def _seen(look: Callable[[], list[Job]], title: str, page: Path | None) -> Group:
    shown = table(look(), f"{title}, {time.strftime('%Y-%m-%d %H:%M:%S')}")
    if page:
        write_page(shown, title, page)
    return shown


def write_page(shown: Group, title: str, path: Path) -> None:
    """Write the table as a page that needs nothing else and loads itself anew every few seconds."""
    recorder = Console(record=True, width=WIDE, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    recorder.print(shown)
    code = PAGE.format(seconds=int(EVERY), title=escape(title).replace("{", "{{").replace("}", "}}"))
    write_text(path, recorder.export_html(code_format=code))
