"""Token ids of the targets of prepared corpora, computed once for each processor: with millions of rows, a training would
otherwise begin with minutes of spelling."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from consomme.common.digest import digest
from consomme.data.arrays import Arrays, Store, stored
from consomme.data.prepared import Rows
from consomme.data.shared import shared_by_all
from consomme.families.base import Family

VERSION = 1


def labels_of(
    family: Family, processor: Any, rows: Rows, cache: Path, key: str, languages: Sequence[str] = ()
) -> Arrays:
    """The labels of `rows`, in their order, int32 [tokens] each, from `cache`/labels, made where they aren't there yet.

    languages: of rows without their own. Labels are kept by the fingerprint of each corpus, its languages, `key` (whatever
    identifies the checkpoint's tokenizer and what its configs say of it) and this module's version, always for whole corpora."""
    stores: list[Store] = []
    store, number = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    for corpus, at, rows_of_it in rows.parts():
        store[at], number[at] = len(stores), rows_of_it
        spoken, whole = corpus.languages(languages), Rows([corpus])

        def make(
            row: int, spoken: Sequence[tuple[str, ...]] = spoken, targets: Sequence[str] = whole.targets
        ) -> np.ndarray:
            return np.asarray(family.labels(processor, targets[row], spoken[row]), dtype=np.int32)

        told = [corpus.about["fingerprint"], key, family.name, sorted(set(spoken)), list(languages), VERSION]
        place = shared_by_all(cache) / "labels" / digest(told, 16)
        stores.append(stored(place, whole.ids, make, f"labels of '{corpus.name}' for {family.name}"))
    return Arrays(stores, store, number)
