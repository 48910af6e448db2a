"""Hypotheses of an export, by its own engine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.model_files import SOURCE
from consomme.evaluate.batches import batches
from consomme.evaluate.evaluator import Said, rows_of
from consomme.evaluate.identity import processor_key
from consomme.evaluate.inputs import Inputs
from consomme.evaluate.metrics import metric_named
from consomme.families import device_named
from consomme.families.base import BEYOND_WINDOW, Hypothesis
from consomme.formats import Asked, Running, format_named, start, write

if TYPE_CHECKING:
    import numpy as np


class Deployed:
    """An export in its engine, and the sets that it is asked for: what `Evaluator` is for a checkpoint. sets: name -> Rows."""

    def __init__(
        self,
        running: Running,
        sets: Mapping[str, Any],
        languages: Sequence[str],
        decoding: Mapping[str, Any],
        cache: Path,
        normaliser: str = "verbatim",
    ) -> None:
        self.running, self.decoding, self.sets, self.languages = running, dict(decoding), dict(sets), list(languages)
        self.normaliser = normaliser
        self._said: dict[str, Said] = {}
        key = processor_key(running.folder / SOURCE)
        self.inputs = {
            name: Inputs(name, rows, running.family, running.processor, languages, cache, key)
            for name, rows in sets.items()
        }

    @classmethod
    def open(cls, job: Job, sets: Mapping[str, Any], folder: Path) -> Deployed:
        """For a job: its spec's languages and decoding. A set is given as Rows or as the names of corpora among its inputs."""
        languages = job.spec["languages"]
        running = start(folder, languages, job.threads, device_named(job.device))
        every = {name: rows if hasattr(rows, "ids") else rows_of(job, rows) for name, rows in sets.items()}
        normaliser = job.spec.get("normaliser", "verbatim")
        return cls(running, every, languages, job.spec.get("decoding", {}), job.cache, normaliser)

    def value(self, model: None, name: str, metric: str, around: None = None) -> float:
        """As `Evaluator.value`."""
        return float(metric_named(metric).value(self.statistics(model, name, metric).sum(axis=0)))

    def statistics(self, model: None, name: str, metric: str, around: None = None) -> np.ndarray:
        """As `Evaluator.statistics`, of the export itself. ConsommeError for a metric that needs losses."""
        wanted, rows = metric_named(metric), self.sets[name]
        if wanted.needs == "loss":
            raise ConsommeError(f"metric: {metric} given; an export has no losses, so choose by an error rate or BLEU")
        if name not in self._said:
            self._said[name] = self.hypotheses(name)
        return wanted.of_rows(rows.targets, self._said[name].texts, self.normaliser, rows.written(self.languages))

    def unheard(self, name: str) -> dict[int, str]:
        """The rows of a set that the model can't take, and why."""
        inputs = self.inputs[name]
        beyond = {i: BEYOND_WINDOW for i, long in enumerate(inputs.long) if long and not self.running.long}
        return dict(sorted((inputs.unheard(self.running.model) | beyond).items()))

    def hypotheses(self, name: str) -> Said:
        """The export's hypothesis for each row of a set, in the order of the rows."""
        inputs, began = self.inputs[name], time.monotonic()
        decoding = dict(self.decoding)
        if self.running.family.objective == "seq2seq":
            decoding["max_new_tokens"] = decoding.get("max_new_tokens") or inputs.longest
        window = self.running.window(decoding).alike(self.running.model.config)
        earlier = inputs.earlier if decoding.get("previous_text") else [[]] * len(inputs.rows)
        found = [Hypothesis("")] * len(inputs.rows)
        alike = inputs.languages, [len(tokens) for tokens in earlier]
        for which in batches(inputs, window, self.running.batch, self.unheard(name), *alike):
            asked = Asked(inputs.languages[which[0]], decoding, [earlier[i] for i in which])
            said = self.running.decode([inputs.rows.source(i) for i in which], asked)
            for i, one in zip(which, said, strict=True):
                found[i] = one
        say(f"{name}: {len(found)} hypotheses ({time.monotonic() - began:.1f} s)")
        return Said([one.text for one in found], [i for i, one in enumerate(found) if one.cut])


CHECKED = 8  # rows that transformers decodes, too


def converted(folder: Path, engine: str, place: Path) -> None:
    """Write the checkpoint in `folder` for an engine into the empty folder `place`, float32."""
    with TemporaryDirectory() as work:
        write(format_named(engine), folder, place, {}, Path(work))


def check(deployed: Deployed, job: Job, rows: Any, folder: Path) -> None:
    """Say whether transformers and the engine make the same text of the first rows of a set."""
    from consomme.evaluate.evaluator import Evaluator
    from consomme.families import load

    few = {"first rows": rows.select(range(min(CHECKED, len(rows))))}
    own = Deployed(deployed.running, few, job.spec["languages"], deployed.decoding, job.cache).hypotheses("first rows")
    evaluator = Evaluator.open(job, few, folder)
    theirs = evaluator.hypotheses(load(folder, evaluator.device), "first rows")
    same = sum(a == b for a, b in zip(own.texts, theirs.texts, strict=True))
    caution = "" if same == len(own.texts) else "caution: "
    say(f"{caution}the engine and transformers make the same text of {same} of the first {len(own.texts)} rows")
