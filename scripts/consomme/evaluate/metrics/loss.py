"""The model's own loss on a set: negative log likelihood per token, without label smoothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from consomme.common.errors import ConsommeError
from consomme.evaluate.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np

    from consomme.common.normalisers import Function


def loss_statistics(
    references: Sequence[str], hypotheses: Sequence[str], normaliser: str | Function, language: str = ""
) -> np.ndarray:
    """Raises ConsommeError: text alone has no loss. The evaluator computes these statistics, [nll, tokens], with the
    model."""
    raise ConsommeError("the metric 'loss' needs the model itself; it can't be counted from stored hypotheses")


def mean_loss(sums: np.ndarray) -> np.ndarray:
    """Nats per token of sums [..., 2] of [nll, tokens]; 0 if there are no tokens."""
    import numpy as np

    return sums[..., 0] / np.maximum(sums[..., 1], 1.0)


LOSS = Metric(
    *("loss", False, ("asr", "nmt"), "loss", "nats per token", 2, loss_statistics, mean_loss),
    lambda normaliser, language: "loss",
)
