"""Model inputs of prepared corpora: computed once for each processor, frames or token ids in one memory-mapped file; or, where
a corpus doesn't keep its samples, each anew whenever it is needed."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from consomme.common.digest import digest
from consomme.common.errors import ConsommeError, Unusable
from consomme.data.arrays import Arrays, Store, Stored, one_thread, stored
from consomme.data.prepared import Corpus, Rows
from consomme.data.shared import shared_by_all
from consomme.data.waveforms import is_kept
from consomme.families.base import Family
from consomme.families.positions import most_tokens

VERSION = 3
ENOUGH = 16000  # samples that every family takes


class Computed:
    """Inputs that are computed at each use, of a family that tells their lengths from those of the waveforms."""

    kept = False

    def __init__(self, family: Family, processor: Any, rows: Rows, languages: Sequence[str]) -> None:
        self.make = functools.partial(family.whole, processor)
        self.rows, self.spoken = rows, rows.languages(languages)
        self.lengths = np.zeros(len(rows), np.int64)
        self.problems: dict[int, tuple[str, str]] = {}
        for i, samples in enumerate(np.rint(rows.seconds * (rows.sampling_rate or 0)).astype(int).tolist()):
            try:
                self.lengths[i] = family.length(processor, samples)
            except Unusable as error:
                self.problems[i] = error.reason, str(error)

    def __getitem__(self, row: int) -> np.ndarray:
        if row in self.problems:
            return np.zeros(0, np.float32)
        with one_thread():
            return np.ascontiguousarray(self.make(self.rows.source(row), self.spoken[row]))


def features_of(
    family: Family, processor: Any, rows: Rows, cache: Path, processor_key: str, languages: Sequence[str] = ()
) -> Arrays:
    """The model inputs of `rows`, in their order, from `cache`/features, made where they aren't there yet: asr [time, bins] or
    [samples] float32, nmt [tokens] int64. Those of a corpus that doesn't keep its samples are not kept either, as they take as
    much disk, unless the family can't tell how long they will be.

    languages: of rows without their own. Features are kept by the fingerprint of each corpus, `processor_key` (whatever
    identifies the processor's files and the family), the corpus's languages if the family's features depend on them, the
    most tokens of a sentence and this module's version, always for whole corpora, so that every share and selection of one
    finds them. Raises ConsommeError where the sampling rates differ."""
    _check_rate(processor, rows)
    stores: list[Store] = []
    store, number = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    for corpus, at, rows_of_it in rows.parts():
        if corpus.audio is not None and corpus.numbers is not None:
            # a model's labels change no waveform
            corpus, rows_of_it = corpus.audio, corpus.numbers[rows_of_it]
        store[at], number[at] = len(stores), rows_of_it
        if corpus.waveform is None or is_kept(corpus.table) or family.length(processor, ENOUGH) is None:
            stores.append(_kept(family, processor, corpus, Path(cache), processor_key, languages))
        else:
            stores.append(Computed(family, processor, Rows([corpus]), languages))
    return Arrays(stores, store, number)


def _kept(
    family: Family, processor: Any, corpus: Corpus, cache: Path, processor_key: str, languages: Sequence[str]
) -> Stored:
    most = [most_tokens(processor, "source")] if corpus.about["task"] == "nmt" else []
    spoken, rows = corpus.languages(languages), Rows([corpus])
    told = [sorted(set(spoken))] if family.languages and spoken else []  # which row has which is in the fingerprint
    place = (
        shared_by_all(cache)
        / "features"
        / digest([corpus.about["fingerprint"], processor_key, VERSION, *most, *told], 16)
    )

    def make(row: int) -> np.ndarray:
        return family.whole(processor, rows.source(row), spoken[row])

    return stored(place, rows.ids, make, f"features of '{corpus.name}' for {family.name}")


def usable(
    family: Family, processor: Any, rows: Rows, numbers: Iterable[int], languages: Sequence[str]
) -> Iterator[tuple[int, np.ndarray]]:
    """The model inputs of some rows, computed one by one without a cache; those that the family can't take are left out.
    languages: of rows without their own."""
    spoken = rows.languages(languages)
    for i in numbers:
        try:
            value = family.features(processor, rows.source(i), spoken[i])
        except Unusable:
            continue
        yield i, value


def _check_rate(processor: Any, rows: Rows) -> None:
    if rows.task != "asr":
        return
    rate = getattr(getattr(processor, "feature_extractor", processor), "sampling_rate", None)
    if rate is not None and rate != rows.sampling_rate:
        raise ConsommeError(
            f"the processor wants {rate} Hz, the corpus was prepared at {rows.sampling_rate} Hz; set the corpus's "
            f"sampling_rate to {rate}"
        )
