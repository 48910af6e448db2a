"""A corpus of any files, prepared, and what has to be true of it whatever they hold."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError
from consomme.common.files import read_json
from consomme.common.job import Job
from consomme.data.prepare import run
from consomme.data.prepared import Rows

# a number twice, so that a byte of it can not change unseen; no other character forms one with a q in the normal form C
MARK = re.compile(r"qq(\d+)x\1qq")


@dataclass(frozen=True)
class Prepared:
    """What was made of a corpus. about: its prepared.json; skipped: the reasons, in the order of the list."""

    rows: Rows
    about: Mapping[str, Any]
    skipped: list[str]


def prepared(folder: Path, corpus: Mapping[str, Any], task: str) -> Prepared | str:
    """A corpus of the files in `folder`, which may have as many bad rows as there are; if it is refused, the error. Every row that was
    read is kept or listed."""
    spec = {
        "task": task,
        "languages": ["en", "fr"] if task == "nmt" else ["en"],
        "label": {"corpus": "any"},
        "corpus": {"max_skipped": 1, **corpus},
        "data_root": str(folder),
        "inputs": [],
    }
    out = folder / "made" / "any"
    job = Job(spec, {}, out, folder / "made" / "state", folder / "made" / "cache", 1, "cpu")
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # a line of the log for each of thousands
            run(job)
    except ConsommeError as error:
        return str(error)
    rows, about = Rows.open([out]), read_json(out / "prepared.json")
    with open(out / "skipped.tsv", encoding="utf-8", newline="\n") as stream:
        head, *listed = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
    assert head == ["id", "reason", "detail"] and all(len(line) == 3 for line in listed)
    assert about["read"] == len(rows) + len(listed) and about["rows"] == len(rows) == len(set(rows.ids))
    assert sum(about["skipped"].values()) == len(listed)
    return Prepared(rows, about, [line[1] for line in listed])


def marked(number: int, before: str = "", after: str = "") -> str:
    """A text of which it can be told to which row it belongs."""
    return f"{before}qq{number}x{number}qq{after}"


def marks(text: str) -> set[int]:
    """The rows whose marks are in a text."""
    return set(map(int, MARK.findall(text)))
