"""How often a test set was looked at: in how many configurations, with how many models its rows were scored, and since
when. Over all experiments in the folder of results, from their registers and from the hypotheses that are there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from consomme.register import chain
from consomme.register.chain import Line
from consomme.register.scores import sheets


@dataclass
class Looks:
    """Of one content of a test set: the fingerprint of its rows stands for it."""

    models: set[str] = field(default_factory=set)  # digests
    # digests of the models and decodings that a plan asked for, some of whose scores were known
    configurations: set[str] = field(default_factory=set)
    experiments: set[str] = field(default_factory=set)
    since: str = ""  # the day of the first score

    def add(self, models: Iterable[str], experiment: str, day: str) -> None:
        """Models, NODE-DIGEST, that were scored on a day or before it."""
        self.models.update(model.rpartition("-")[2] for model in models)
        self.experiments.add(experiment)
        self.since = min(filter(None, (self.since, day)), default="")


def looks(results: Path) -> dict[str, Looks]:
    """Fingerprint of a test set's rows -> its looks."""
    found: dict[str, Looks] = {}
    for folder in sorted(p for p in results.iterdir() if p.is_dir()):
        for line in chain.read(folder / chain.NAME).lines:
            _registered(found, folder.name, line)
        for score, sheet in sheets(folder).items():
            day = datetime.fromtimestamp(sheet.time, UTC).strftime("%Y-%m-%d")
            found.setdefault(score.rows, Looks()).add([score.model], folder.name, day)
    return found


def together(several: Iterable[Looks]) -> Looks:
    """The looks at contents that one test set has in different replicates."""
    whole = Looks()
    for one in several:
        for experiment in one.experiments:
            whole.add(one.models, experiment, one.since)
        whole.configurations |= one.configurations
    return whole


def _registered(found: dict[str, Looks], experiment: str, line: Line) -> None:
    for group in line.get("scores", ()):
        found.setdefault(group["rows"], Looks()).add(group["models"], experiment, line["time"][:10])
    for test in line.get("sets", {}).values():
        for rows in test["rows"] if test["scored"] else ():
            found.setdefault(rows, Looks()).configurations.add(test["plan"])
