"""How many rows an epoch draws of what: of each corpus by its weight, of each language by a temperature."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

Languages = tuple[str, ...]


class Pool(NamedTuple):
    """Rows that are drawn alike. An epoch draws weight * number of rows; name: seeds the shuffles."""

    name: str
    corpus: str
    rows: np.ndarray  # their numbers in the corpus
    weight: float


def by_corpus(rows: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> list[Pool]:
    """A pool for each corpus. rows: corpus -> the rows that may be drawn."""
    return [Pool(name, name, found, weights[name]) for name, found in rows.items() if len(found)]


def by_language(
    rows: Mapping[str, np.ndarray],
    weights: Mapping[str, float],
    languages: Mapping[str, Sequence[Languages]],
    temperature: float,
) -> list[Pool]:
    """A pool for each corpus and language (of a translator: pair of languages).

    A language whose corpora put n rows into an epoch gets a share of it in proportion to n^(1/temperature); the epoch stays
    as long, and corpora of one language keep their proportions (Arivazhagan et al. 2019, arXiv 1907.05019, section 3).
    languages: corpus -> those of each of its rows; temperature: from 1 (as it is) up (towards equal shares)."""
    parts: dict[tuple[str, Languages], list[int]] = {}
    for corpus, found in rows.items():
        for row in found.tolist():
            parts.setdefault((corpus, languages[corpus][row]), []).append(row)
    sizes: defaultdict[Languages, float] = defaultdict(float)
    for (corpus, spoken), found in parts.items():
        sizes[spoken] += weights[corpus] * len(found)
    shares = {spoken: size ** (1 / temperature) for spoken, size in sizes.items()}
    scale = sum(sizes.values()) / sum(shares.values())
    return [
        Pool(
            " ".join([corpus, *spoken]),
            corpus,
            np.array(found),
            weights[corpus] * scale * shares[spoken] / sizes[spoken],
        )
        for (corpus, spoken), found in parts.items()
    ]
