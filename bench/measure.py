"""Commands side by side: seconds and memory of each, in interleaved rounds, and the table of their ratios."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

POLL = 0.005  # seconds between two looks at a process's memory


@dataclass(frozen=True)
class Run:
    """seconds: wall time; anonymous, resident: peaks in MiB, the first without pages of files."""

    seconds: float
    anonymous: float
    resident: float


@dataclass(frozen=True)
class Row:
    """One line of a benchmark's table. ratio: the median of the paired ratios ours / peer; least: the ratio of the two
    minima; bar: what the ratio may be at most (None: shown for orientation)."""

    name: str
    ours: float
    peer: float
    ratio: float
    least: float
    unit: str
    bar: float | None
    holds: bool | None


def timed(command: Sequence[str], place: Path | None = None) -> Run:
    """Run a command to its end, in the folder `place`. RuntimeError, with what it said, where it fails."""
    began = time.perf_counter()
    job = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=place)
    anonymous = resident = 0
    while job.poll() is None:
        found = _memory(job.pid)
        anonymous, resident = max(anonymous, found.get("RssAnon", 0)), max(resident, found.get("VmHWM", 0))
        time.sleep(POLL)
    seconds = time.perf_counter() - began
    if job.returncode:
        raise RuntimeError(f"{' '.join(command[:3])} ...: exit {job.returncode}: {job.stderr.read().decode()[-500:]}")
    return Run(seconds, anonymous / 1024, resident / 1024)


def _memory(pid: int) -> dict[str, int]:
    """The sizes, in KiB, that the kernel tells of a process."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {k: int(v.split()[0]) for k, _, v in (line.partition(":") for line in lines) if v.strip().endswith("kB")}


def interleaved(contenders: Mapping[str, Callable[[], Run]], rounds: int) -> dict[str, list[Run]]:
    """Each contender once to warm caches, then `rounds` times in turn, so that slow moments hit all alike."""
    for run in contenders.values():
        run()
    found: dict[str, list[Run]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            found[name].append(run())
    return found


def compared(name: str, ours: Sequence[Run], peer: Sequence[Run], bar: float | None) -> Row:
    """The row for seconds."""
    pairs = [o.seconds / p.seconds for o, p in zip(ours, peer, strict=True)]
    medians = [statistics.median(run.seconds for run in runs) for runs in (ours, peer)]
    ratio, least = statistics.median(pairs), min(o.seconds for o in ours) / min(p.seconds for p in peer)
    return Row(name, *medians, ratio, least, "s", bar, None if bar is None else ratio <= bar)


def report(rows: Sequence[Row], out: Path) -> None:
    """Print the table as Markdown and write the rows to `out`."""
    print("| measured | ours | peer | ratio | of minima | bar | holds |\n| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        bar, holds = "" if row.bar is None else f"≤ {row.bar:g}", {True: "yes", False: "no", None: ""}[row.holds]
        figures = f"{row.ours:.3g} {row.unit} | {row.peer:.3g} {row.unit} | {row.ratio:.3g} | {row.least:.3g}"
        print(f"| {row.name} | {figures} | {bar} | {holds} |")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
