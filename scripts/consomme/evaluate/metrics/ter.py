"""Translation edit rate on sacreBLEU's statistics: edits, shifts of phrases among them, per word of the reference (Snover et
al. 2006). As in sacreBLEU, case doesn't count, and the text is cut at spaces alone, whatever the normaliser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from consomme.evaluate.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np

    from consomme.common.normalisers import Function


def edits(
    references: Sequence[str], hypotheses: Sequence[str], normaliser: str | Function, language: str = ""
) -> np.ndarray:
    """[edits, words of the reference] of each sentence, float64 [n, 2]."""
    import numpy as np
    from sacrebleu.metrics import TER as SacreTER

    if not len(references):
        return np.zeros((0, 2))
    return np.array(SacreTER()._extract_corpus_statistics(list(hypotheses), [list(references)]), dtype=np.float64)


def rate(sums: np.ndarray) -> np.ndarray:
    """100 * edits / words of sums [..., 2]; equal to sacreBLEU's `corpus_score`. Without any reference text, 100 where there
    are edits."""
    import numpy as np

    edits, words = sums[..., 0], sums[..., 1]
    return np.where(words > 0, 100.0 * edits / np.where(words > 0, words, 1.0), 100.0 * (edits > 0))


def exactly(normaliser: str | Function, language: str) -> str:
    """sacreBLEU's signature."""
    from sacrebleu.metrics import TER as SacreTER

    metric = SacreTER()
    metric.num_refs = 1
    return f"ter|{metric.get_signature()}"


TER = Metric("ter", False, ("nmt",), "hypotheses", "%", 2, edits, rate, exactly, usual=False)
