"""Word and character error rate, by jiwer's alignment.

The statistics of an utterance are [errors, reference length]. An empty reference has length 0 and its insertions count
as errors, so words transcribed for silence are counted. In languages that are written without spaces each character is
a word, as in the evaluation of Whisper (Radford et al. 2022, arXiv 2212.04356)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from consomme.common.languages import unspaced
from consomme.common.normalisers import normaliser_named
from consomme.common.normalisers import signature as normaliser_signature
from consomme.evaluate.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np

    from consomme.common.normalisers import Function

WORD, CHARACTER = "word", "char"


def unit(language: str) -> str:
    """What the word error rate of a language counts."""
    return CHARACTER if unspaced(language) else WORD


def errors(
    references: Sequence[str], hypotheses: Sequence[str], normaliser: str | Function, language: str = ""
) -> np.ndarray:
    """[substitutions + deletions + insertions, words of the reference] for each utterance, float64 [n, 2]. Without spaces
    between words, characters take their place, and spaces don't count."""
    if unit(language) == WORD:
        return word_errors(references, hypotheses, normaliser, language)
    import jiwer

    return _counts(jiwer.process_words, references, hypotheses, normaliser, language, apart=True)


def word_errors(
    references: Sequence[str], hypotheses: Sequence[str], normaliser: str | Function, language: str = ""
) -> np.ndarray:
    """[substitutions + deletions + insertions, words of the reference], in any language parted by spaces, [n, 2]."""
    import jiwer

    return _counts(jiwer.process_words, references, hypotheses, normaliser, language)


def character_errors(
    references: Sequence[str], hypotheses: Sequence[str], normaliser: str | Function, language: str = ""
) -> np.ndarray:
    """[substitutions + deletions + insertions, characters of the reference with its spaces], float64 [n, 2]."""
    import jiwer

    return _counts(jiwer.process_characters, references, hypotheses, normaliser, language)


def rate(sums: np.ndarray) -> np.ndarray:
    """100 * errors / length for sums [..., 2]; without any reference text, 100 * errors, as in jiwer 4."""
    import numpy as np

    return 100.0 * sums[..., 0] / np.maximum(sums[..., 1], 1.0)


def alignments(
    process: Callable[..., Any],
    references: Sequence[str],
    hypotheses: Sequence[str],
    normaliser: str | Function,
    language: str,
    apart: bool = False,
) -> Iterator[tuple[list[str], list[str], list[Any]]]:
    """For each utterance the parts of reference and hypothesis, and jiwer's chunks of their alignment. process:
    jiwer.process_words or process_characters; apart: every character is a word."""
    if not len(references):
        return
    clean = normaliser_named(normaliser, language)
    # jiwer splits at spaces only; any white space is one here
    words = [[clean(text).split() for text in side] for side in (references, hypotheses)]
    pairs = [[" ".join("".join(w) if apart else w) for w in side] for side in words]
    found = process(*pairs)
    yield from zip(found.references, found.hypotheses, found.alignments, strict=True)


def length(chunk: Any) -> int:
    """The number of edits in a chunk of the alignment: both sides of a substitution are equally long; else one side is
    empty."""
    return max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)


def _counts(process, references, hypotheses, normaliser, language, apart=False) -> np.ndarray:
    import numpy as np

    counts = np.zeros((len(references), 2))
    found = alignments(process, references, hypotheses, normaliser, language, apart)
    for i, (reference, _, chunks) in enumerate(found):
        counts[i] = sum(length(chunk) for chunk in chunks if chunk.type != "equal"), len(reference)
    return counts


def _metric(name, statistics, tokenizer, usual=True) -> Metric:
    def signature(normaliser: str | Function, language: str) -> str:
        norm, tok = normaliser_signature(normaliser), tokenizer(language)
        return f"{name}|tok:{tok}|norm:{norm}|jiwer:{version('jiwer')}"

    return Metric(name, False, ("asr",), "hypotheses", "%", 2, statistics, rate, signature, tokenizer, usual)


WER = _metric("wer", errors, unit)
WER_WORDS = _metric("wer-words", word_errors, lambda language: WORD, usual=False)
CER = _metric("cer", character_errors, lambda language: CHARACTER)
