"""A file of JSON lines, each with a hash of its own content and that of the line before. A line that is changed, taken out
or put between no longer fits the others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from consomme.common.digest import digest
from consomme.common.files import read_text, write_text
from consomme.common.once import alone

NAME = "claims.jsonl"  # in the folder of an experiment
DIGITS = 32  # of hashes: 128 bits of BLAKE2b

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Chain:
    """The lines of a file, the oldest first."""

    # a line that can't be read, or isn't as it was written, is an empty mapping
    lines: tuple[Line, ...] = ()
    # the hash of the last line, which stands for all before it; empty without lines
    head: str = ""
    # the first line, from 1, that isn't as it was written, or doesn't follow the one before it; None: all are whole
    broken: int | None = None

    @property
    def turned_back(self) -> int | None:
        """The first line, from 1, whose time is before that of the line before it."""
        times = [line.get("time", "") for line in self.lines]
        return next((number for number, (a, b) in enumerate(pairwise(times), 2) if b and b < a), None)


def read(path: Path | str) -> Chain:
    """The lines of a file. A file that isn't there has none."""
    lines: list[Line] = []
    broken, head = None, ""
    for number, text in enumerate(_lines(Path(path)), 1):
        line, stated = _line(text)
        if broken is None and not (line and line["before"] == head):
            broken = number
        lines.append(line)
        head = stated
    return Chain(tuple(lines), head, broken)


def append(path: Path | str, content: Line) -> Chain:
    """Add a line with this content, as a whole or not at all. Returns all lines."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with alone(path.with_name(f".{path.name}.lock")):
        line = {**content, "before": read(path).head}
        line["hash"] = _hash(line)
        write_text(path, "".join(f"{text}\n" for text in [*_lines(path), json.dumps(line, ensure_ascii=False)]))
        return read(path)


def _lines(path: Path) -> list[str]:
    # only the line feed ends a line: splitlines() would also cut at characters that occur inside one
    text = read_text(path, errors="replace") if path.exists() else ""
    return text.removesuffix("\n").split("\n") if text else []


def _line(text: str) -> tuple[Line, str]:
    """A line, empty if it isn't as it was written, and the hash that it states."""
    try:
        line = json.loads(text)
        stated, right = line["hash"], _hash(line)
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}, ""
    return (line if stated == right else {}), str(stated)


def _hash(line: Line) -> str:
    return digest({key: value for key, value in line.items() if key != "hash"}, DIGITS)
