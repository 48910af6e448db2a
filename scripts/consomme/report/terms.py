"""Recall of words that matter: those that are rare in training, and the terms of a glossary.

Of the occurrences in the references, those are found that the hypothesis of the same row has as well, each as often as it has
it. Texts are compared as the word error rate compares them; where the experiment scores raw text, without case and
punctuation. In languages that are written without spaces each character is a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from consomme.common.digest import digest
from consomme.common.errors import ConsommeError
from consomme.common.files import read_json, write_json
from consomme.common.languages import unspaced
from consomme.common.normalisers import Function, normaliser_named
from consomme.common.normalisers import signature as normaliser_signature
from consomme.evaluate.metrics import TERMS
from consomme.evaluate.metrics.base import Metric

RARE, GLOSSARY = TERMS


def recall(
    references: Sequence[str],
    hypotheses: Sequence[str],
    normaliser: str | Function,
    language: str = "",
    terms: Collection[str] = (),
) -> np.ndarray:
    """[occurrences found, occurrences in the reference] of the terms in each row, float64 [n, 2]."""
    cut = _cutter(normaliser, language)
    wanted = {tuple(words) for term in terms if (words := cut(term))}
    lengths = sorted({len(words) for words in wanted})
    counts = np.zeros((len(references), 2))
    for row, reference, hypothesis in zip(counts, references, hypotheses, strict=True):
        there = Counter(_occurring(cut(reference), lengths, wanted))
        said = Counter(_occurring(cut(hypothesis), lengths, wanted)) if there else there
        row[:] = (there & said).total(), there.total()
    return counts


def share(sums: np.ndarray) -> np.ndarray:
    """100 * found / occurrences of sums [..., 2]; 0 without any."""
    return 100.0 * sums[..., 0] / np.maximum(sums[..., 1], 1.0)


def exactly(normaliser: str | Function, language: str, what: str = "") -> str:
    """What was looked for, by a digest of the terms, and how texts were compared."""
    return f"{what}|norm:{normaliser_signature(_comparing(normaliser))}"


def metric_of(name: str, terms: Iterable[str], what: str) -> Metric:
    """The recall of these terms as a metric. what: in words, for the signature."""
    found = tuple(sorted(set(terms)))
    exact = partial(exactly, what=f"{name}|{what}|{len(found)} terms {digest(found, 8)}")
    counted = partial(recall, terms=found)
    return Metric(name, True, ("asr", "nmt"), "hypotheses", "%", 2, counted, share, exact, usual=False)


def glossary(path: Path) -> list[str]:
    """The terms of a glossary: a line each. ConsommeError where it can't be read, or has none."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConsommeError(
            f"the glossary {path} can't be read ({error}); a UTF-8 file with a term a line is wanted"
        ) from None
    terms = [line.strip() for line in lines if line.strip()]
    if not terms:
        raise ConsommeError(f"the glossary {path} has no terms; a term a line is wanted")
    return terms


def rare_words(
    training: Any, tested: Iterable[Any], most: int, normaliser: str, default: Sequence[str], cache: Path
) -> list[str]:
    """The words of the tested rows' references that occur at most `most` times in the training rows' targets. training,
    tested: `Rows`; default: the experiment's languages. Kept by the contents of all rows, because there may be many."""
    tested = list(tested)
    rows = [training.fingerprint, sorted(rows.fingerprint for rows in tested)]
    key = [rows, most, normaliser_signature(_comparing(normaliser)), list(default)]
    kept = cache / "words" / f"{digest(key)}.json"
    if not kept.exists():
        asked = {word for rows in tested for words in _texts(rows, normaliser, default) for word in words}
        seen = Counter(word for words in _texts(training, normaliser, default) for word in words if word in asked)
        write_json(kept, sorted(word for word in asked if seen[word] <= most))
    return read_json(kept)


def _texts(rows: Any, normaliser: str, default: Sequence[str]) -> Iterator[list[str]]:
    """The words of each row's target."""
    cutters: Mapping[str, Any] = {
        language: _cutter(normaliser, language) for language in dict.fromkeys(rows.written(default))
    }
    for text, language in zip(rows.targets, rows.written(default), strict=True):
        yield cutters[language](text)


def _cutter(normaliser: str | Function, language: str) -> Any:
    """Text -> its words."""
    clean = normaliser_named(_comparing(normaliser), language)
    if unspaced(language):
        return lambda text: list("".join(clean(text).split()))
    return lambda text: clean(text).split()


def _comparing(normaliser: str | Function) -> str | Function:
    return "basic" if normaliser == "verbatim" else normaliser


def _occurring(
    words: Sequence[str], lengths: Iterable[int], wanted: Collection[tuple[str, ...]]
) -> Iterator[tuple[str, ...]]:
    """The wanted sequences of words, at each of their places."""
    for length in lengths:
        for start in range(len(words) - length + 1):
            if (found := tuple(words[start : start + length])) in wanted:
                yield found
