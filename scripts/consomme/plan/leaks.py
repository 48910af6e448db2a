"""Corpora that are known to have rows in common before any job, by their files and filters, whatever they are called."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from consomme.data.sources import TABLE as SOURCES
from consomme.data.sources.base import meets, where_of
from consomme.data.text import nfc
from consomme.plan.items import Prepared

RANGES = (("min_seconds", "max_seconds"), ("min_characters", "max_characters"))


def shared(corpus: Prepared, tests: Iterable[Prepared]) -> Prepared | None:
    """The first of the test corpora that the corpus is known to share rows with."""
    return next((test for test in tests if share_rows(corpus, test)), None)


def share_rows(one: Prepared, other: Prepared) -> bool:
    """Whether some rows of the two are surely the same: they read the same bytes, and no filter can tell them apart. What
    can't be known before the rows are read counts as different; the report counts it by the rows."""
    if one.stage != "data" or other.stage != "data":
        return False
    return not _apart(one, other) and _one_place(one, other)


def _apart(one: Prepared, other: Prepared) -> bool:
    """Whether their filters leave different rows of one place, or may do so."""
    for first, second in ((one, other), (other, one)):
        if any(second.content == c.content or second.name == c.name for c in first.without):
            return True
    here, there = where_of(one.settings), where_of(other.settings)
    if any(not _meet(here[column], there[column]) for column in here.keys() & there.keys()):
        return True
    if not (here.keys() <= there.keys() or there.keys() <= here.keys()):
        return True
    if here != there and (one.settings.get("limit") or other.settings.get("limit")):
        return True
    return any(_beyond(one.settings, other.settings, *ends) for ends in RANGES)


def _meet(one: Any, other: Any) -> bool:
    """Whether a value can be one that both filters want."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return max(one["from"], other["from"]) <= min(one["to"], other["to"])
    if isinstance(one, Mapping):
        one, other = other, one
    if isinstance(other, Mapping):
        return any(meets(value, other) for value in one)
    return not {nfc(str(value)) for value in one}.isdisjoint(nfc(str(value)) for value in other)


def _beyond(one: Mapping[str, Any], other: Mapping[str, Any], low: str, high: str) -> bool:
    """Whether all that one keeps is longer than all that the other keeps."""
    most = min((s[high] for s in (one, other) if s.get(high) is not None), default=float("inf"))
    return max(one.get(low) or 0, other.get(low) or 0) > most


def _one_place(one: Prepared, other: Prepared) -> bool:
    mine, theirs = tables(one), tables(other)
    if mine and theirs:
        if one.settings["source"] == other.settings["source"] == "parallel":
            return any(_same(a, b) for a in mine for b in theirs)  # a side in common is enough
        return len(mine) == len(theirs) and all(map(_same, mine, theirs))
    if mine or theirs or one.settings["source"] != other.settings["source"]:
        return False
    keys = SOURCES[one.settings["source"]].place
    places = [[_resolved(c, key) for key in keys] for c in (one, other)]
    return any(places[0]) and places[0] == places[1]


@cache
def tables(corpus: Prepared) -> list[Path]:
    """The files that a corpus's rows begin with."""
    return SOURCES[corpus.settings["source"]].files(corpus.settings, corpus.languages, corpus.root)


@cache
def _same(one: Path, other: Path) -> bool:
    """Whether two paths lead to the same file or to equal bytes; of files that aren't there, whether they are spelt alike."""
    try:
        return os.path.samefile(one, other) or filecmp.cmp(one, other, shallow=False)
    except (OSError, ValueError):
        return os.path.abspath(one) == os.path.abspath(other)


def _resolved(corpus: Prepared, key: str) -> Any:
    value = corpus.settings.get(key)
    return os.path.realpath(corpus.root / value) if key == "path" and isinstance(value, str) else value
