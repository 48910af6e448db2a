"""The record of a metric. This module imports nothing heavy: the plan reads names, directions, tasks and tokenizers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np

    from consomme.common.normalisers import Function

V = TypeVar("V", float, "np.ndarray")


def whole(language: str) -> str:
    """The tokenizer of a metric that cuts no text."""
    return ""


@dataclass(frozen=True)
class Metric:
    """A corpus metric that is computed from sums of statistics per utterance.

    Languages are given by their codes, and an empty one where the language isn't known."""

    name: str  # the word in configurations
    higher_is_better: bool
    tasks: Sequence[str]  # asr, nmt
    needs: str  # "hypotheses" or "loss"
    unit: str  # of the value; "%" for rates, which are times 100
    size: int  # k, the number of statistics per utterance
    # (references, hypotheses, the normaliser's name or function, the language) -> float64 [n, k]
    statistics: Callable[[Sequence[str], Sequence[str], str | Function, str], np.ndarray]
    value: Callable[[np.ndarray], np.ndarray]  # sums [..., k] -> float64 [...]: one call for thousands of resamples
    # (the normaliser's name or function, the language) -> the metric's exact version and options, for reports and caches
    signature: Callable[[str | Function, str], str]
    # the language -> how its text is cut into what is counted. ConsommeError if that can't be done on this machine
    tokenizer: Callable[[str], str] = whole
    usual: bool = True  # whether logs have it without being asked for
    shared: str = ""  # a name for its statistics, where several metrics are values of the same

    def of_rows(
        self,
        references: Sequence[str],
        hypotheses: Sequence[str],
        normaliser: str | Function,
        languages: Sequence[str],
    ) -> np.ndarray:
        """The statistics [n, k] of rows that are each in a language of their own [n]."""
        import numpy as np

        counted = np.zeros((len(references), self.size))
        for language in dict.fromkeys(languages):
            some = [i for i, own in enumerate(languages) if own == language]
            sides = ([texts[i] for i in some] for texts in (references, hypotheses))
            counted[some] = self.statistics(*sides, normaliser, language)
        return counted

    @property
    def counted_as(self) -> str:
        """What its statistics are called."""
        return self.shared or self.name

    def gain(self, value: V) -> V:
        """The value, with its sign changed if lower is better, so that higher is better."""
        return value if self.higher_is_better else -value
