"""The development sets of a job and the choice made on them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError, nearest
from consomme.common.files import read_json
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.provenance import NAME
from consomme.evaluate import choice as choosing
from consomme.evaluate.metrics import metric_named
from consomme.formats import exported_as

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.data.prepared import Rows
    from consomme.evaluate.evaluator import Around, Evaluator

INTERVAL = (0.025, 0.975)
SMALL = 200  # rows: with fewer, differences in an error rate or BLEU are mostly chance, and the loss is more reliable


class Judge:
    """Evaluates models on the sets of `choose_on` and checks the limits set there.

    parents: the models to choose from; `of:` may name one of them or a reference input of the job.
    metric: used if the job has no choose_on (default: the experiment's)."""

    def __init__(self, job: Job, parents: Mapping[str, Path], metric: str | None = None) -> None:
        from consomme.evaluate.evaluator import Evaluator, rows_of
        from consomme.families import device_named

        self.job, self.parents = job, parents
        self.choice = choosing.Choice.parse(choose_on(job, metric))
        self.device = device_named(job.device)
        names = [s for s in job.spec["dev"] if s in self.choice.weights or s in self.choice.limits]
        missing = sorted(({*self.choice.weights, *self.choice.limits}) - set(names))
        if missing:
            raise ConsommeError(
                f"choose_on: no development set '{missing[0]}'{nearest(missing[0], job.spec['dev'])}; "
                f"there are {', '.join(job.spec['dev'])}"
            )
        self._rows = {name: rows_of(job, job.spec["dev"][name]) for name in names}
        sizes = {name: len(rows) for name, rows in self._rows.items()}
        self.cautions = [c for c in (few(self.choice, sizes), twice(self.choice, job.spec["dev"], parents)) if c]
        for line in self.cautions:
            say(line)
        self._open = Evaluator.open
        self._evaluators: dict[str, Any] = {}
        self._references: dict[str, tuple[Evaluator, PreTrainedModel]] | None = None

    def evaluator(self, folder: Path | None = None) -> Any:
        """The evaluator for models with the processor of `folder` (default: the first parent's), or of the export there."""
        from consomme.evaluate.identity import processor_key
        from consomme.families.positions import KEYS, positions

        folder = folder or next(iter(self.parents.values()))
        if exported_as(folder):
            from consomme.evaluate.deployed import Deployed

            if str(folder) not in self._evaluators:
                self._evaluators[str(folder)] = Deployed.open(self.job, self._rows, folder)
            return self._evaluators[str(folder)]
        key = f"{processor_key(folder)} {[positions(read_json(folder / 'config.json'), side) for side in KEYS]}"
        if key not in self._evaluators:
            self._evaluators[key] = self._open(self.job, self._rows, folder)
        return self._evaluators[key]

    def load(self, folder: Path) -> Any:
        """The model in a folder; None of an export, which its evaluator has loaded."""
        from consomme.families import load

        return None if exported_as(folder) else load(folder, self.device)

    def rows_of_set(self, name: str) -> Rows:
        """The rows of a development set of the choice."""
        return self._rows[name]

    def objective(
        self,
        model: PreTrainedModel,
        folder: Path | None = None,
        metric: str | None = None,
        around: Around | None = None,
    ) -> float:
        """The weighted mean of the choice's metric, or of `metric`, over the sets, with its sign set so that higher is
        better. around: as in `Evaluator.statistics`."""
        choice = replace(self.choice, metric=metric) if metric else self.choice
        found = choosing.objective(self.evaluator(folder), model, choice, around)
        return -math.inf if math.isnan(found) else found  # NaN is never the best

    def admissible(self, model: PreTrainedModel, folder: Path | None = None) -> tuple[bool, dict[str, Any]]:
        """Whether the model keeps every limit, and the figures by set."""
        if not self.choice.limits:
            return True, {}
        if self._references is None:
            folders = {**self.parents, **self.job.labelled("reference")}
            wanted = {limit.of for limit in self.choice.limits.values()}
            self._references = {
                name: (self.evaluator(folders[name]), self.load(folders[name])) for name in wanted if name in folders
            }
        return choosing.admissible(self.evaluator(folder), model, self._references, self.choice)

    def score(self, objective: float) -> float:
        """An objective in the metric's own unit and direction."""
        return metric_named(self.choice.metric).gain(objective)

    def text(self, objective: float) -> str:
        """An objective for the log, such as `wer 12.34`."""
        return f"{self.choice.metric} {self.score(objective):.{4 if self.choice.metric == 'loss' else 2}f}"

    def speeds(self, models: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
        """Name -> the measurements of `consomme.speed` on rows of the sets, for each of `models` in its own window."""
        from consomme.speed.architecture import windows
        from consomme.speed.rounds import Timed, in_turn

        corpora = list(dict.fromkeys(c for name in self._rows for c in self.job.spec["dev"][name]))
        decoding = self.job.spec.get("decoding") or {}
        spec = {
            "sets": corpora,
            "corpora": {name: str(self.job.inputs[f"corpus/{name}"]) for name in corpora},
            "languages": self.job.spec["languages"],
            "decoding": decoding,
        }
        timed = [Timed(name, folder, windows(folder, decoding)[0]) for name, folder in models.items()]
        return dict(zip(models, in_turn(timed, spec, self.device, self.job.threads), strict=True))

    def rows(self, model: PreTrainedModel, folder: Path | None = None) -> list[dict[str, Any]]:
        """For each set and metric of the choice: set, metric, value and its 95 % percentile interval from 2,000
        resamples of the set's units (None for a set of a single unit)."""
        import numpy as np

        from consomme.evaluate.bootstrap import bootstrap

        wanted = [(s, self.choice.metric) for s in self.choice.weights]
        wanted += [(s, limit.metric) for s, limit in self.choice.limits.items()]
        found = []
        for name, metric in dict.fromkeys(wanted):
            statistics = self.evaluator(folder).statistics(model, name, metric)
            units = np.asarray(self._rows[name].units)
            low = high = None
            if len(np.unique(units)) > 1:
                drawn = bootstrap(metric_named(metric), [statistics], units)[0]
                low, high = (float(q) for q in np.quantile(drawn, INTERVAL))
            value = float(metric_named(metric).value(statistics.sum(axis=0)))
            found.append({"set": name, "metric": metric, "value": value, "ci_low": low, "ci_high": high})
        return found


def few(choice: choosing.Choice, rows: Mapping[str, int]) -> str | None:
    """A warning if the development sets are too small for the choice's metric, else None. rows: set -> number of rows."""
    small = [name for name in choice.weights if rows[name] < SMALL]
    if choice.metric == "loss" or not small:
        return None
    return (
        f"chosen by {choice.metric} on fewer than {SMALL} rows ({', '.join(small)}): small gains there are mostly chance; "
        "`metric: loss` is steadier, more development data better"
    )


def twice(choice: choosing.Choice, dev: Mapping[str, Sequence[str]], parents: Mapping[str, Path]) -> str | None:
    """A warning if the choice reuses development rows that stopped or picked the `parents`' training runs, else None.
    dev: set -> corpora."""
    rows = {corpus for name in choice.weights for corpus in dev[name]}
    seen: set[str] = set()
    for path in parents.values():
        record = read_json(path / NAME) if (path / NAME).is_file() else {}
        settings = record.get("settings") or {}
        if not (settings.get("load_best_model_at_end") or settings.get("early_stopping_patience")):
            continue
        for name in settings["choose_on"]["sets"]:
            seen |= rows & set(record["dev"].get(name, ()))
    if not seen:
        return None
    return (
        f"chosen on {', '.join(sorted(seen))}, where its runs were stopped or picked already, so that they look better there than "
        "they are; other development data would tell more"
    )


def choose_on(job: Job, metric: str | None = None) -> dict[str, Any]:
    """The job's choice; without one, `metric` (default: the experiment's) on all development sets with equal weights."""
    given = job.spec["settings"].get("choose_on")
    if given:
        return given
    if not job.spec.get("dev"):
        raise ConsommeError("there is nothing to choose on: the spec names no development sets ('dev')")
    return {"metric": metric or job.spec["metric"], "sets": {name: {"weight": 1.0} for name in job.spec["dev"]}}
