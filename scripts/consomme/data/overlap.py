"""What a test set shares with other data."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError
from consomme.data import sound
from consomme.data.prepared import Rows
from consomme.data.text import compared


def overlap(train: Rows, test: Rows) -> dict[str, int]:
    """How many rows of `test` share something with any row of `train`, by kind, as `in_common` has them."""
    return {kind: sum(found) for kind, found in in_common(train, test).items()}


def in_common(train: Rows, test: Rows, cache: Path | None = None) -> dict[str, list[bool]]:
    """Which rows of `test` share something with any row of `train`: their audio (by hash), their sound (resampled, trimmed,
    louder or coded; only with a `cache` for what it is known by), a source recording, the speaker, the document, the source,
    the target (both compared without case and punctuation). asr has no source, nmt no audio; rows without a speaker or
    document share none, and rows of the same audio no other sound."""
    found = {
        "recording": _lists(train.recordings, test.recordings),
        "speaker": _shared(train.speakers, test.speakers),
        "document": _shared(train.documents, test.documents),
        "target": _shared(map(compared, train.targets), map(compared, test.targets)),
    }
    if train.task == test.task == "asr":
        same = _shared(train.audio_hashes, test.audio_hashes)
        other = {"sound": _other_sound(train, test, same, cache)} if cache else {}
        return {"audio": same, **other, **found}
    if train.task == test.task == "nmt":
        found["source"] = _shared(map(compared, train.untagged), map(compared, test.sources))
    return found


def refuse_twins(dev: Mapping[str, Rows], test: Mapping[str, Rows]) -> None:
    """ConsommeError where half of a development or test set, or more, is rows of the other: their audio, or source and target
    both."""
    chosen = {name: _rows(rows) for name, rows in dev.items()}
    reported = {name: _rows(rows) for name, rows in test.items()}
    for (one, mine), (other, theirs) in itertools.product(chosen.items(), reported.items()):
        known, tested = set(mine), set(theirs)
        count = sum(row in known for row in theirs)
        if count and (2 * count >= len(theirs) or 2 * sum(row in tested for row in mine) >= len(mine)):
            raise ConsommeError(
                f"{count} of {len(theirs)} rows of the test set '{other}' ({_names(test[other])}) are in the development set "
                f"'{one}' ({_names(dev[one])}; {len(mine)} rows). Development sets choose and test sets only report: give them "
                "different rows, or name the test set's corpora in the key `without` of the development set's"
            )


def _rows(rows: Rows) -> Sequence[Any]:
    """What tells a row from others, of each."""
    if rows.task == "asr":
        return rows.audio_hashes
    return list(zip(map(compared, rows.sources), map(compared, rows.targets), strict=True))


def _names(rows: Rows) -> str:
    return ", ".join(dict.fromkeys(rows.corpora))


def _other_sound(train: Rows, test: Rows, same: Sequence[bool], cache: Path) -> list[bool]:
    heard = sound.heard(train, test, cache)
    return [one and not already for one, already in zip(heard, same, strict=True)]


def _shared(train: Iterable[Any], test: Iterable[Any]) -> list[bool]:
    known = set(train) - {None, ""}
    return [value in known for value in test]


def _lists(train: Sequence[Sequence[Any]], test: Sequence[Sequence[Any]]) -> list[bool]:
    known = set(itertools.chain.from_iterable(train))
    return [not known.isdisjoint(values) for values in test]
