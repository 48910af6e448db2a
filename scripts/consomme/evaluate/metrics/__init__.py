"""The table of metrics. A new metric is a small file and one line here, or an entry point of another package in
the group `consomme.metrics` that loads to a `Metric`."""

from __future__ import annotations

from collections.abc import Iterable

from consomme.common.errors import ConsommeError
from consomme.common.table import Table
from consomme.evaluate.metrics.base import Metric
from consomme.evaluate.metrics.bleu import BLEU, FIXED
from consomme.evaluate.metrics.chrf import CHRF
from consomme.evaluate.metrics.chrf_plus_plus import CHRF_PLUS_PLUS
from consomme.evaluate.metrics.error_types import ERROR_TYPES
from consomme.evaluate.metrics.loss import LOSS
from consomme.evaluate.metrics.ter import TER
from consomme.evaluate.metrics.word_errors import CER, WER, WER_WORDS

TABLE: Table[Metric] = Table(
    "metric", "consomme.metrics", WER, WER_WORDS, CER, *ERROR_TYPES, BLEU, *FIXED, CHRF, CHRF_PLUS_PLUS, TER, LOSS
)
TERMS = ("rare-words", "glossary")  # the recall of them, which an experiment's own keys ask for
metric_named = TABLE.named


def metrics_of(task: str, needs: str | None = None) -> list[Metric]:
    """The usual metrics for a task; with `needs`, only those that need hypotheses (or the loss)."""
    return [m for m in TABLE.values() if m.usual and task in m.tasks and needs in (None, m.needs)]


def details_of(task: str) -> list[str]:
    """The metrics that tell in which ways the hypotheses of a task are wrong."""
    return [metric.name for metric in ERROR_TYPES if task in metric.tasks]


def counted_for(task: str, languages: Iterable[str]) -> list[Metric]:
    """The usual metrics of hypotheses that this machine can count for these languages."""
    every = set(languages)
    return [m for m in metrics_of(task, "hypotheses") if all(_cuts(m, language) for language in every)]


def _cuts(metric: Metric, language: str) -> bool:
    try:
        metric.tokenizer(language)
    except ConsommeError:
        return False
    return True
