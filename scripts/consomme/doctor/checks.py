"""The table of checks, and their answers on the screen."""

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
    Check("configuration", needs.configuration, only_with_plan=True),
    Check("hub", needs.hub, only_with_plan=True),
    Check("exports", needs.exports, only_with_plan=True),
    Check("training", needs.training, only_with_plan=True),
)
MARKS = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("–", "dim")}


def asked_of(files: Sequence[Path], profile: Path | None = None) -> Asked:
    """What the checks are told of the current folder and of a configuration."""
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
    """Every check's answer, in the order of the table. Where a configuration can't be planned, nothing that needs the
    plan is asked but why."""
    chosen = [c for c in CHECKS if not c.only_with_plan or asked.plan or (asked.problem and c.name == "configuration")]
    return [(check.name, _find(check, asked)) for check in chosen]


def _find(check: Check, asked: Asked) -> Finding:
    try:
        return check.find(asked)
    except OSError as error:
        return Finding(False, str(error), f"{asked.place} has to be a folder that can be written to")


def show(found: Sequence[tuple[str, Finding]], console: Console | None = None) -> bool:
    """Print a line for each, and below a cross what to do. Returns whether all is well."""
    console = console or Console(soft_wrap=True, highlight=False)
    width = max(len(name) for name, _ in found)
    for name, finding in found:
        mark, style = MARKS[finding.well]
        line = Text.assemble((mark, style), f" {name:<{width}}  {finding.said}")
        if finding.well is False and finding.remedy:
            line.append(f" → {finding.remedy}")
        console.print(line)
    return all(finding.well is not False for _, finding in found)
