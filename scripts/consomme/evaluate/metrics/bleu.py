"""BLEU on sacreBLEU's sufficient statistics: n-grams of order 1 to 4, tokenizer 13a, mixed case, exponential smoothing.

The text is scored raw, whatever the normaliser: the tokenizer is part of the metric and of its signature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from consomme.evaluate.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np

    from consomme.common.normalisers import Normaliser

ORDER = 4


def bleu_statistics(references: Sequence[str], hypotheses: Sequence[str], normaliser: str | Normaliser) -> np.ndarray:
    """For each sentence [hypothesis length, reference length, matches x 4, n-grams x 4], float64 [n, 10]."""
    import numpy as np

    if not len(references):
        return np.zeros((0, 2 + 2 * ORDER))
    return np.array(_sacrebleu()._extract_corpus_statistics(list(hypotheses), [list(references)]), dtype=np.float64)


def bleu(sums: np.ndarray) -> np.ndarray:
    """Corpus BLEU, 0..100, of sums [..., 10]; equal to sacreBLEU's `corpus_score`."""
    import numpy as np

    length, wanted = sums[..., 0], sums[..., 1]
    matches, ngrams = sums[..., 2 : 2 + ORDER], sums[..., 2 + ORDER :]
    missed = matches == 0
    # NIST's smoothing: the first order without a match counts 1/2 match, the next 1/4, and so on
    counted = np.where(missed, 0.5 ** np.cumsum(missed, axis=-1), matches)
    # BLEU is 0 if an order has no n-gram in any hypothesis, or if the corpus has no match at all
    defined = (ngrams > 0).all(axis=-1) & ~missed.all(axis=-1)
    precisions = 100.0 * counted / np.maximum(ngrams, 1.0)
    brevity = np.exp(np.minimum(0.0, 1.0 - wanted / np.maximum(length, 1.0)))
    return np.where(defined, brevity * np.exp(np.log(precisions).mean(axis=-1)), 0.0)


def _sacrebleu():
    from sacrebleu.metrics import BLEU as SacreBLEU

    return SacreBLEU(force=True)  # force: no warning about text that looks tokenised


def _signature() -> str:
    metric = _sacrebleu()
    metric.num_refs = 1
    return f"bleu|{metric.get_signature()}"


BLEU = Metric("bleu", True, ("nmt",), "hypotheses", "%", 2 + 2 * ORDER, bleu_statistics, bleu, _signature)
