"""What a metric is. This module imports nothing heavy: the plan reads names, directions and tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np

    from consomme.common.normalisers import Normaliser

V = TypeVar("V", float, "np.ndarray")


@dataclass(frozen=True)
class Metric:
    """A corpus metric that rests on sums of statistics per utterance.

    name: the word in configurations; higher_is_better: its direction; tasks: asr, nmt; needs: "hypotheses" or "loss";
    unit: of the value, "%" for rates, which are times 100; size: k, the number of statistics of an utterance;
    statistics(references, hypotheses, normaliser) -> float64 [n, k], `normaliser` being a name or a function;
    value(sums [..., k]) -> float64 [...], so that thousands of resamples are one call;
    signature(): the metric's exact version and options, for reports."""

    name: str
    higher_is_better: bool
    tasks: Sequence[str]
    needs: str
    unit: str
    size: int
    statistics: Callable[[Sequence[str], Sequence[str], str | Normaliser], np.ndarray]
    value: Callable[[np.ndarray], np.ndarray]
    signature: Callable[[], str]

    def gain(self, value: V) -> V:
        """The value turned so that higher is better."""
        return value if self.higher_is_better else -value
