"""Commands side by side: seconds and memory of each, in interleaved rounds, and the table of their ratios."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

POLL = 0.005  # seconds between two readings of a process's memory


@dataclass(frozen=True)
class Run:
    """Time and memory of one run."""

    seconds: float  # wall time
    anonymous: float  # peak in MiB without pages of files
    resident: float  # peak in MiB


@dataclass(frozen=True)
class Row:
    """One line of a benchmark's table."""

    name: str
    ours: float
    peer: float
    ratio: float  # median of the paired ratios ours / peer
    least: float  # ratio of the two minima
    unit: str
    bar: float | None  # largest allowed ratio; None: for information
    holds: bool | None


def timed(command: Sequence[str], place: Path | None = None) -> Run:
    """Run a command to its end, in the folder `place`. RuntimeError with its messages if it fails."""
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
    """The memory sizes of a process from the kernel, in KiB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {k: int(v.split()[0]) for k, _, v in (line.partition(":") for line in lines) if v.strip().endswith("kB")}


def interleaved(contenders: Mapping[str, Callable[[], Run]], rounds: int) -> dict[str, list[Run]]:
    """Run each contender once to warm caches, then all in turn `rounds` times, so that slow moments affect all equally."""
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
