"""chrF2 on sacreBLEU's sufficient statistics: character n-grams of order 1 to 6, beta 2, without spaces.

The text is scored raw, whatever the normaliser, as for BLEU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from consomme.evaluate.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np

    from consomme.common.normalisers import Function

ORDER = 6
BETA = 2


def chrf_statistics(
    references: Sequence[str],
    hypotheses: Sequence[str],
    normaliser: str | Function,
    language: str = "",
    words: int = 0,
) -> np.ndarray:
    """For each sentence [n-grams of the hypothesis, of the reference, matches] of each order, float64 [n, 18]. words: the highest
    order of word n-grams, whose numbers follow."""
    import numpy as np

    if not len(references):
        return np.zeros((0, 3 * (ORDER + words)))
    return np.array(
        _sacrebleu(words)._extract_corpus_statistics(list(hypotheses), [list(references)]), dtype=np.float64
    )


def chrf(sums: np.ndarray) -> np.ndarray:
    """Corpus chrF2, 0..100, of sums [..., 3 x orders]; equal to sacreBLEU's `corpus_score`."""
    import numpy as np

    hypothesis, reference, matches = (sums[..., i::3] for i in range(3))
    both = (hypothesis > 0) & (reference > 0)
    orders = np.maximum(both.sum(axis=-1), 1)
    precision = np.where(both, matches / np.maximum(hypothesis, 1.0), 0.0).sum(axis=-1) / orders
    recall = np.where(both, matches / np.maximum(reference, 1.0), 0.0).sum(axis=-1) / orders
    weighed = BETA**2 * precision + recall
    return np.where(weighed > 0, 100.0 * (1 + BETA**2) * precision * recall / np.where(weighed > 0, weighed, 1.0), 0.0)


def _sacrebleu(words: int):
    from sacrebleu.metrics import CHRF as SacreCHRF

    return SacreCHRF(char_order=ORDER, word_order=words, beta=BETA)


def exactly(normaliser: str | Function, language: str, words: int = 0) -> str:
    """sacreBLEU's signature."""
    metric = _sacrebleu(words)
    metric.num_refs = 1
    return f"chrf2|{metric.get_signature()}"


CHRF = Metric(
    "chrf", True, ("nmt",), "hypotheses", "%", 3 * ORDER, chrf_statistics, chrf, exactly, lambda language: "char"
)
