"""Word and character error rate, by jiwer's alignment.

The statistics of an utterance are [errors, reference length]. An empty reference has length 0 and its insertions count
as errors, so words transcribed for silence are counted."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from consomme.common.normalisers import normaliser_named
from consomme.evaluate.metrics.base import Metric

if TYPE_CHECKING:
    import numpy as np

    from consomme.common.normalisers import Normaliser


def word_errors(references: Sequence[str], hypotheses: Sequence[str], normaliser: str | Normaliser) -> np.ndarray:
    """[substitutions + deletions + insertions, words of the reference] for each utterance, float64 [n, 2]."""
    import jiwer

    return _counts(jiwer.process_words, references, hypotheses, normaliser)


def character_errors(references: Sequence[str], hypotheses: Sequence[str], normaliser: str | Normaliser) -> np.ndarray:
    """[substitutions + deletions + insertions, characters of the reference with its spaces], float64 [n, 2]."""
    import jiwer

    return _counts(jiwer.process_characters, references, hypotheses, normaliser)


def rate(sums: np.ndarray) -> np.ndarray:
    """100 * errors / length for sums [..., 2]; without any reference text, 100 * errors, as in jiwer 4."""
    import numpy as np

    return 100.0 * sums[..., 0] / np.maximum(sums[..., 1], 1.0)


def _counts(process, references, hypotheses, normaliser) -> np.ndarray:
    import numpy as np

    if not len(references):
        return np.zeros((0, 2))
    clean = normaliser_named(normaliser)
    # jiwer splits at spaces only; any white space is one here
    pairs = [[" ".join(clean(text).split()) for text in side] for side in (references, hypotheses)]
    found = process(*pairs)
    counts = np.zeros((len(references), 2))
    for i, (reference, chunks) in enumerate(zip(found.references, found.alignments, strict=True)):
        counts[i] = sum(_length(chunk) for chunk in chunks if chunk.type != "equal"), len(reference)
    return counts


def _length(chunk) -> int:
    """The number of edits in a chunk of the alignment: both sides of a substitution are equally long; else one side is
    empty."""
    return max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)


def _signature(name: str) -> str:
    return f"{name}|jiwer:{version('jiwer')}"


WER = Metric("wer", False, ("asr",), "hypotheses", "%", 2, word_errors, rate, lambda: _signature("wer"))
CER = Metric("cer", False, ("asr",), "hypotheses", "%", 2, character_errors, rate, lambda: _signature("cer"))
