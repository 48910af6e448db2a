"""The table of checks, and their results on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from consomme.common.errors import ConsommeError
from consomme.doctor import machine, needs
from consomme.doctor.finding import Asked, Check, Finding

CHECKS = (
    Check("Python", machine.python),
    Check("packages", machine.packages),
    Check("device", machine.device),
    Check("disk", machine.disk),
    Check("files", machine.inodes),
    Check("file locks", machine.locks),
    Check("hard links", machine.links),
    Check("partitions", needs.partitions),
    Check("store", needs.store),
    Check("configuration", needs.configuration, only_with_plan=True),
    Check("hub", needs.hub, only_with_plan=True),
    Check("exports", needs.exports, only_with_plan=True),
    Check("training", needs.training, only_with_plan=True),
    Check("several GPUs", needs.several, only_with_plan=True),
    Check("trackers", needs.trackers, only_with_plan=True),
)
MARKS = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("–", "dim")}


def asked_of(files: Sequence[Path], profile: Path | None = None) -> Asked:
    """The input of the checks: the current folder and a configuration."""
    place = Path("results").resolve()
    while not place.is_dir():
        place = place.parent
    if not files:
        return Asked(place, profile=profile)
    from consomme.plan.load import read
    from consomme.plan.plan import Plan

    try:
        return Asked(place, tuple(files), Plan(read(files)), profile=profile)
    except ConsommeError as error:
        return Asked(place, tuple(files), problem=str(error), profile=profile)


def findings(asked: Asked) -> list[tuple[str, Finding]]:
    """Every check's result, in the order of the table. If a configuration can't be planned, checks that need the plan
    are left out, except `configuration`, which gives the reason."""
    chosen = [c for c in CHECKS if not c.only_with_plan or asked.plan or (asked.problem and c.name == "configuration")]
    return [(check.name, _find(check, asked)) for check in chosen]


def _find(check: Check, asked: Asked) -> Finding:
    try:
        return check.find(asked)
    except OSError as error:
        return Finding(False, str(error), f"{asked.place} must be a folder with write permission")


def show(found: Sequence[tuple[str, Finding]], console: Console | None = None) -> bool:
    """Print one line per result, and the remedy below a failed one. Returns whether none has failed."""
    width = max(len(name) for name, _ in found)
    for name, finding in found:
        show_one(name, finding, width, console)
    return all(finding.well is not False for _, finding in found)


def show_one(name: str, finding: Finding, width: int, console: Console | None = None) -> None:
    """Print the line of one result, the name padded to `width`."""
    console = console or Console(soft_wrap=True, highlight=False)
    mark, style = MARKS[finding.well]
    line = Text.assemble((mark, style), f" {name:<{width}}  {finding.said}")
    if finding.well is False and finding.remedy:
        line.append(f" → {finding.remedy}")
    console.print(line)
