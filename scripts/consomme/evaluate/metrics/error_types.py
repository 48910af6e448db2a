"""Kinds of errors of recognisers, of the same alignment as `wer`, all from the same counts.

- `substitutions`, `deletions`, `insertions`: per 100 words of the reference; together they are `wer`. `deletions-start` and
  `deletions-end` are the deletions before the first and behind the last word of the hypothesis that is aligned, as where
  speech was cut; an utterance without any hypothesis is deleted at its end.
- `mer`: match error rate, errors per 100 words that are in either text: at most 100 (Morris et al. 2004, "From WER and RIL to
  MER and WIL").
- `ser`: sentence error rate, per 100 utterances those with any error.
- `hallucinations`: per 100 utterances those with text that nobody said, by any of three signs. The reference is empty and the
  hypothesis is not. The hypothesis is more than `TIMES` as long as the reference, and by at least `MORE` words; this is a rule
  of our own. It repeats itself: its most frequent sequence of `GRAM` words comes at least `OFTENER` times more often than that
  of the reference, which is how oscillatory hallucinations of translators are found (Raunak et al. 2021, arXiv 2104.06683;
  with these numbers, Guerreiro et al. 2023, arXiv 2208.05309), with the reference in place of the source.

In languages that are written without spaces each character is a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from consomme.common.normalisers import signature as normaliser_signature
from consomme.evaluate.metrics.base import Metric
from consomme.evaluate.metrics.word_errors import WORD, alignments, length, unit

if TYPE_CHECKING:
    import numpy as np

    from consomme.common.normalisers import Function

TIMES, MORE = 2, 5
GRAM, OFTENER = 4, 2
# the columns of the counts
SUBSTITUTED, DELETED, INSERTED, START, END, WORDS, WRONG, HALLUCINATED, UTTERANCES = range(9)


def error_counts(
    references: Sequence[str], hypotheses: Sequence[str], normaliser: str | Function, language: str = ""
) -> np.ndarray:
    """For each utterance [substitutions, deletions, insertions, deletions at the start, at the end, words of the reference,
    whether anything is wrong, whether it is a hallucination, 1], float64 [n, 9]."""
    import jiwer
    import numpy as np

    counts = np.zeros((len(references), 9))
    apart = unit(language) != WORD
    found = alignments(jiwer.process_words, references, hypotheses, normaliser, language, apart)
    for row, (reference, hypothesis, chunks) in zip(counts, found, strict=True):
        for kind, place in (("substitute", SUBSTITUTED), ("delete", DELETED), ("insert", INSERTED)):
            row[place] = sum(length(chunk) for chunk in chunks if chunk.type == kind)
        if chunks and chunks[-1].type == "delete":
            row[END] = length(chunks[-1])
        if chunks[1:] and chunks[0].type == "delete":
            row[START] = length(chunks[0])
        row[WORDS], row[UTTERANCES] = len(reference), 1
        row[WRONG] = row[[SUBSTITUTED, DELETED, INSERTED]].any()
        row[HALLUCINATED] = hallucinated(reference, hypothesis)
    return counts


def hallucinated(reference: Sequence[str], hypothesis: Sequence[str]) -> bool:
    """Whether the words of a hypothesis have one of the three signs."""
    said, heard = len(reference), len(hypothesis)
    if not said:
        return heard > 0
    longer = heard > TIMES * said and heard - said >= MORE
    return longer or repeated(hypothesis) - repeated(reference) >= OFTENER


def repeated(words: Sequence[str]) -> int:
    """How often the most frequent sequence of `GRAM` words occurs; 0 where there are fewer words."""
    sequences = Counter(tuple(words[i : i + GRAM]) for i in range(len(words) - GRAM + 1))
    return max(sequences.values(), default=0)


def _per_word(*columns: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda sums: _rate(sums[..., list(columns)].sum(-1), sums[..., WORDS])


def _per_utterance(column: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda sums: _rate(sums[..., column], sums[..., UTTERANCES])


def match_error_rate(sums: np.ndarray) -> np.ndarray:
    """100 * errors / (words of the reference + insertions)."""
    errors = sums[..., [SUBSTITUTED, DELETED, INSERTED]].sum(-1)
    return _rate(errors, sums[..., WORDS] + sums[..., INSERTED])


def _rate(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """100 * part / whole; without any reference text, 100 * part."""
    import numpy as np

    return 100.0 * part / np.maximum(whole, 1.0)


def exactly(normaliser: str | Function, language: str) -> str:
    """The same for all kinds: they are values of the same counts."""
    norm = normaliser_signature(normaliser)
    signs = f"hallucination:>{TIMES}x+{MORE},{GRAM}gram+{OFTENER}"
    return f"error-types|tok:{unit(language)}|norm:{norm}|{signs}|jiwer:{version('jiwer')}"


def _metric(name: str, value: Callable[[np.ndarray], np.ndarray]) -> Metric:
    return Metric(
        *(name, False, ("asr",), "hypotheses", "%", 9, error_counts, value, exactly, unit),
        usual=False,
        shared="error-types",
    )


ERROR_TYPES = (
    _metric("substitutions", _per_word(SUBSTITUTED)),
    _metric("deletions", _per_word(DELETED)),
    _metric("insertions", _per_word(INSERTED)),
    _metric("deletions-start", _per_word(START)),
    _metric("deletions-end", _per_word(END)),
    _metric("mer", match_error_rate),
    _metric("ser", _per_utterance(WRONG)),
    _metric("hallucinations", _per_utterance(HALLUCINATED)),
)
