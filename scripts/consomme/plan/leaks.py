"""Corpora that are known to have rows in common before any job, by their files and filters, whatever they are called."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError
from consomme.data.sources import TABLE as SOURCES
from consomme.data.sources.base import meets, where_of
from consomme.data.text import nfc
from consomme.plan.items import Prepared

RANGES = (("min_seconds", "max_seconds"), ("min_characters", "max_characters"))
FILTERS = ("join", "max_ratio", "streaming", *(end for ends in RANGES for end in ends))
PLACES = ("path", "name")  # settings that may be paths
BLOCK, BLOCKS = 1 << 16, 64  # bytes of a file that are looked at together, and about how many times


def in_common(one: Prepared, other: Prepared) -> str:
    """Where rows that the two surely share come from, in words; empty if they share none, or that can't be known before the
    rows are read: the first evaluation and the report look at these."""
    if one.stage != "data" or other.stage != "data" or _apart(one, other):
        return ""
    place = _place(one, other)
    return place if place and not _drawn_apart(one, other) else ""


# -- filters -----------------------------------------------------------------------------------------------------------
def _apart(one: Prepared, other: Prepared) -> bool:
    """Whether their filters leave different rows of one place, or may do so."""
    for first, second in ((one, other), (other, one)):
        if any(second.name == c.name or second.content == c.content or _covers(c, second) for c in first.without):
            return True
    here, there = where_of(one.settings), where_of(other.settings)
    if any(not _meet(here[column], there[column]) for column in here.keys() & there.keys()):
        return True
    if not (here.keys() <= there.keys() or there.keys() <= here.keys()):
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
    return max(_low(one, low), _low(other, low)) > min(_high(one, high), _high(other, high))


def _drawn_apart(one: Prepared, other: Prepared) -> bool:
    """Whether `limit` may have drawn different rows of the two. Of the same rows, a smaller limit's are among a larger
    one's; and what is drawn of a whole is in the whole."""
    if not (one.settings.get("limit") or other.settings.get("limit")) or _filters(one) == _filters(other):
        return False
    return not (_covers(one, other) or _covers(other, one))


def _filters(corpus: Prepared) -> list[Any]:
    """All that says which rows of a place may be drawn."""
    without = sorted(c.content for c in corpus.without)
    return [where_of(corpus.settings), without, *(corpus.settings.get(key) or None for key in FILTERS)]


def _covers(one: Prepared, other: Prepared) -> bool:
    """Whether one surely has all rows of the other: it reads the same place, and keeps all that the other keeps."""
    mine, theirs = one.settings, other.settings
    if mine.get("limit") or mine.get("max_ratio") or one.without:
        return False
    there = where_of(theirs)
    if any(there.get(column) != wanted for column, wanted in where_of(mine).items()):
        return False
    if any(_low(mine, low) > _low(theirs, low) or _high(mine, high) < _high(theirs, high) for low, high in RANGES):
        return False
    return bool(_place(one, other))


def _low(settings: Mapping[str, Any], key: str) -> float:
    return settings.get(key) or 0


def _high(settings: Mapping[str, Any], key: str) -> float:
    return float("inf") if settings.get(key) is None else settings[key]


# -- places ------------------------------------------------------------------------------------------------------------
def _place(one: Prepared, other: Prepared) -> str:
    """What both read, in words; empty if it isn't known to be the same."""
    mine, theirs = _tables(one), _tables(other)
    if one.settings["source"] == other.settings["source"]:
        own = _own(one, bool(mine))
        if own != _own(other, bool(theirs)):
            return ""
        if own and not mine and not theirs:
            return "both read " + ", ".join(f"{key} {one.settings[key]}" for key in own)
    if one.task == "nmt":  # each table has texts of all rows: one side in common is enough
        return next(filter(None, (_same(a, b) for a, b in product(mine, theirs))), "")
    found = [_same(a, b) for a, b in zip(mine, theirs, strict=False)]
    if not found or not all(found) or len(mine) != len(theirs):
        return ""
    if mine == theirs:
        return found[0]
    first, second = _first(one), _first(other)
    return found[0] if first and second and _same(first, second) else ""


def _own(corpus: Prepared, tables: bool) -> dict[str, Any]:
    """The settings of the corpus's source alone that say which rows there are before any filter. Tables stand for the path."""
    source = SOURCES[corpus.settings["source"]]
    keys = source.settings.model_fields.keys() - set(source.indifferent) - ({"path"} if tables else set())
    given = {
        key: value
        for key in source.settings.model_fields
        if key in keys and (value := corpus.settings.get(key)) is not None
    }
    return given | {key: os.path.realpath(corpus.root / given[key]) for key in PLACES if key in given}


def _tables(corpus: Prepared) -> list[Path]:
    """The files that hold a corpus's rows, of both sides even where one is missing and another model writes it."""
    settings = {key: value for key, value in corpus.settings.items() if key not in ("missing", "by")}
    return SOURCES[settings["source"]].files(settings, corpus.languages, corpus.root)


def _first(corpus: Prepared) -> Path | None:
    """The first recording that a table names: the same table in another folder may be of other recordings."""
    settings: dict[str, Any] = corpus.settings | {"where": {}}
    try:
        root, names = SOURCES[settings["source"]].recordings(settings, corpus.root)
        return next((root / name for name in names), None)
    except ConsommeError:
        return None  # the preparation says what is wrong


def _same(one: Path, other: Path) -> str:
    """Whether two paths lead to the same file or to equal bytes, in words; of files that aren't there, whether they are spelt
    alike. Large files of the same size are looked at in places."""
    try:
        if os.path.samefile(one, other):
            return f"both read {one}"
        size = one.stat().st_size
        if not size or size != other.stat().st_size:
            return ""
        with one.open("rb") as first, other.open("rb") as second:
            for start in (*range(0, size, max(BLOCK, size // BLOCKS)), max(0, size - BLOCK)):
                first.seek(start)
                second.seek(start)
                if first.read(BLOCK) != second.read(BLOCK):
                    return ""
    except (OSError, ValueError):
        return f"both read {one}" if os.path.abspath(one) == os.path.abspath(other) else ""
    return f"{one} and {other} are the same bytes"
