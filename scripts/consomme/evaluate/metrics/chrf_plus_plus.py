"""chrF++ on sacreBLEU's sufficient statistics: chrF2 with word n-grams of order 1 and 2 beside the characters' (Popović 2017,
"chrF++: words helping character n-grams"). The text is scored raw, whatever the normaliser."""

from __future__ import annotations

from functools import partial

from consomme.evaluate.metrics.base import Metric
from consomme.evaluate.metrics.chrf import ORDER, chrf, chrf_statistics, exactly

WORDS = 2  # the highest order of words

CHRF_PLUS_PLUS = Metric(
    *("chrf++", True, ("nmt",), "hypotheses", "%", 3 * (ORDER + WORDS), partial(chrf_statistics, words=WORDS), chrf),
    partial(exactly, words=WORDS),
    lambda language: "char",
    usual=False,
)
