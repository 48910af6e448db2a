"""Test scores: those that are there, those that lines of a register name, those that a plan asks for."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from consomme.common.digest import digest
from consomme.common.files import read_json
from consomme.common.kept_hashes import kept_hashes
from consomme.register.chain import DIGITS, Line
from consomme.register.claims import Spec


class Score(NamedTuple):
    """One model on one test set. Who has its hypotheses can count it."""

    model: str  # NODE-DIGEST
    set: str
    decoding: str
    rows: str  # the fingerprint of the set's rows


class Sheet(NamedTuple):
    """The hypotheses of a score."""

    path: Path
    mark: str  # the hash of the register's last line when they were decoded; empty if there was none
    time: float  # of the index that names them, seconds since 1970


def sheets(folder: Path) -> dict[Score, Sheet]:
    """The test scores in the folder of an experiment, from the indices of its hypotheses; other ways of decoding beside the
    experiment's own don't count."""
    indices = [(index.stat().st_mtime, index) for index in folder.glob("hypotheses/*/*.json")]
    # a file that was decoded anew, on other rows, is in several indices: the newest is right
    found: dict[Path, tuple[Score, Sheet]] = {}
    for time, index in sorted(indices):
        for score, sheet in _named(index, time):
            earlier = found.get(sheet.path)
            if earlier and earlier[0] == score:
                sheet = sheet._replace(time=earlier[1].time)
            found[sheet.path] = score, sheet
    return dict(found.values())


def planned(spec: Spec) -> set[tuple[str, str, str]]:
    """(model, set, decoding) of the test scores that the plan asks for; opened sets are those of the models opened."""
    opened = spec["register"]["opened"]
    found = set()
    for model in spec["models"]:
        if not model.get("evaluation"):
            continue
        name = Path(model["folder"]).name
        for test in spec["sets"][str(model["replicate"])].get("test", {}):
            if test not in opened or name in opened[test]:
                found.add((name, test, spec["decoding_digest"]))
    return found


def plan_of(asked: Iterable[tuple[str, str, str]], test: str) -> str:
    """A digest of what is `planned` for a test set, which stands for the configuration that it is scored with."""
    return digest(sorted((model, decoding) for model, name, decoding in asked if name == test))


def recorded(lines: Iterable[Line]) -> dict[Score, str]:
    """The scores that lines name, with the hash of their hypotheses when they were last named."""
    return {
        Score(model, group["set"], group["decoding"], group["rows"]): content
        for line in lines
        for group in line.get("scores", ())
        for model, content in group["models"].items()
    }


def contents(found: dict[Score, Sheet], known_at: Path) -> dict[Score, str]:
    """The hash of the hypotheses of each score whose file is there. Hashes are kept in the file `known_at`."""
    paths = [str(sheet.path) for sheet in found.values() if sheet.path.is_file()]
    hashes = kept_hashes({path: (path, os.stat(path)) for path in paths}, known_at, _hash)
    return {score: hashes[str(sheet.path)] for score, sheet in found.items() if str(sheet.path) in hashes}


def grouped(scores: dict[Score, str]) -> list[dict[str, object]]:
    """Scores and the hashes of their hypotheses, as lines name them: by test set."""
    groups: dict[tuple[str, str, str], dict[str, str]] = {}
    for score, content in sorted(scores.items()):
        groups.setdefault((score.set, score.decoding, score.rows), {})[score.model] = content
    return [{"set": s, "decoding": d, "rows": r, "models": models} for (s, d, r), models in groups.items()]


def _named(index: Path, time: float) -> list[tuple[Score, Sheet]]:
    """The test scores that an index names; none if it isn't one."""
    try:
        return [
            (
                Score(index.parent.name, entry["set"], entry["decoding"], entry.get("fingerprint") or ""),
                Sheet(Path(entry["path"]), entry.get("register", ""), time),
            )
            for entry in read_json(index)["sets"]
            if entry["split"] == "test" and not entry.get("way")
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _hash(path: str) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=DIGITS // 2)).hexdigest()
