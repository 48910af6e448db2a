"""The table of metrics. A new metric is a small file and one line here, or an entry point of another package in
the group `consomme.metrics` that loads to a `Metric`."""

from __future__ import annotations

from consomme.common.table import Table
from consomme.evaluate.metrics.base import Metric
from consomme.evaluate.metrics.bleu import BLEU
from consomme.evaluate.metrics.chrf import CHRF
from consomme.evaluate.metrics.loss import LOSS
from consomme.evaluate.metrics.word_errors import CER, WER

TABLE: Table[Metric] = Table("metric", "consomme.metrics", WER, CER, BLEU, CHRF, LOSS)
metric_named = TABLE.named


def metrics_of(task: str, needs: str | None = None) -> list[Metric]:
    """The metrics for a task; with `needs`, only those that need hypotheses (or the loss)."""
    return [m for m in TABLE.values() if task in m.tasks and needs in (None, m.needs)]
