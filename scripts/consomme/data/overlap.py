"""What a test set shares with training data."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from consomme.data.prepared import Rows
from consomme.data.text import compared


def overlap(train: Rows, test: Rows) -> dict[str, int]:
    """How many rows of `test` share something with any row of `train`: their audio (by hash), a source recording, the
    speaker, the document, the source, the target (both compared without case and punctuation). asr has no source, nmt
    no audio; rows without a speaker or document share none."""
    counts = {
        "recording": _lists(train.recordings, test.recordings),
        "speaker": _shared(train.speakers, test.speakers),
        "document": _shared(train.documents, test.documents),
        "target": _shared(map(compared, train.targets), map(compared, test.targets)),
    }
    if train.task == test.task == "asr":
        return {"audio": _shared(train.audio_hashes, test.audio_hashes), **counts}
    if train.task == test.task == "nmt":
        counts["source"] = _shared(map(compared, train.untagged), map(compared, test.sources))
    return counts


def _shared(train: Iterable[Any], test: Iterable[Any]) -> int:
    known = set(train) - {None, ""}
    return sum(value in known for value in test)


def _lists(train: Sequence[Sequence[Any]], test: Sequence[Sequence[Any]]) -> int:
    known = set(itertools.chain.from_iterable(train))
    return sum(not known.isdisjoint(values) for values in test)
