"""The table of metrics. One more metric is one more small file and one line here, or an entry point of another package
in the group `consomme.metrics` that loads to a `Metric`."""

from __future__ import annotations

from importlib.metadata import entry_points

from consomme.common.errors import ConsommeError, nearest
from consomme.evaluate.metrics.base import Metric
from consomme.evaluate.metrics.bleu import BLEU
from consomme.evaluate.metrics.chrf import CHRF
from consomme.evaluate.metrics.loss import LOSS
from consomme.evaluate.metrics.word_errors import CER, WER

GROUP = "consomme.metrics"


def _table() -> dict[str, Metric]:
    table = {metric.name: metric for metric in (WER, CER, BLEU, CHRF, LOSS)}
    for point in entry_points(group=GROUP):
        if point.name in table:
            raise ConsommeError(f"{GROUP}: the entry point '{point.value}' takes the name '{point.name}' once more")
        table[point.name] = point.load()
    return table


TABLE: dict[str, Metric] = _table()


def metric_named(name: str) -> Metric:
    """The metric of that name."""
    if name not in TABLE:
        raise ConsommeError(f"no metric '{name}'; there are {', '.join(TABLE)}{nearest(name, TABLE)}")
    return TABLE[name]


def metrics_of(task: str, needs: str | None = None) -> list[Metric]:
    """The metrics for a task, those that need hypotheses (or the loss) if asked for."""
    return [m for m in TABLE.values() if task in m.tasks and needs in (None, m.needs)]
