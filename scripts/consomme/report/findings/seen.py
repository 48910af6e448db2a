"""Test rows that training, choosing, or what a starting point learnt before has seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consomme.common.files import read_json
from consomme.report.lineage import ancestors, node_of
from consomme.report.outcomes import Outcomes

TRAINING, CHOOSING, OTHERS = "training", "choosing", "tokenizers, pruning, statistics"
ITSELF = ("audio", "sound", "recording", "source", "target")  # a row itself; a speaker or document in common is less


@dataclass(frozen=True)
class Seen:
    """What a test set shares with some corpora."""

    set: str
    rows: int
    # what reads the corpora: one of the above, or a starting point's name
    by: str
    corpora: tuple[str, ...]
    # kind -> rows of the test set that have it in common
    counts: Mapping[str, int]

    @property
    def known(self) -> dict[str, int]:
        """The counts above 0."""
        return {kind: count for kind, count in self.counts.items() if count}


def seen(outcomes: Outcomes) -> list[Seen]:
    """For each test set: what it shares with the training data, with other data that is read, and with what starting points
    learnt before. Replicates with the same corpora count once."""
    found: dict[Any, Seen] = {}
    for replicate in outcomes.replicates:
        for name, tested in outcomes.spec["sets"][replicate].get("test", {}).items():
            for by, corpora in _readers(outcomes, replicate).items():
                if corpora:
                    found.setdefault((name, by, tuple(tested), corpora), _seen(outcomes, name, tested, by, corpora))
            for node, before in outcomes.spec.get("before", {}).items():
                one = _before(outcomes, name, tested, node, before)
                found.setdefault((name, node, tuple(tested)), one)
    return list(found.values())


def of_claim(outcomes: Outcomes, models: Iterable[str], test: str, found: Iterable[Seen]) -> str:
    """A sentence about the rows of a test set that these models, or what they were made of, have seen; empty if none. Rows count
    by their audio or texts, not by speaker or document."""
    nodes = {node_of(outcomes, m) for model in models for m in (model, *ancestors(outcomes, model))}
    most: dict[str, int] = {}
    rows = 0
    for replicate in outcomes.replicates:
        tested = outcomes.spec["sets"][replicate].get("test", {}).get(test)
        read = outcomes.spec.get("read") or outcomes.spec.get("train") or {}
        corpora = tuple(sorted({c for node in nodes for c in read.get(replicate, {}).get(node, ())}))
        if tested and corpora:
            one = _seen(outcomes, test, tested, "", corpora)
            rows = one.rows
            most |= {k: max(n, most.get(k, 0)) for k, n in one.known.items()}
    for one in found:
        if one.set == test and one.by in nodes:
            rows = one.rows
            most |= {k: max(n, most.get(k, 0)) for k, n in one.known.items()}
    itself = {kind: count for kind, count in most.items() if kind in ITSELF and _telling(outcomes, kind)}
    return f"Of {rows} test rows, what these models learnt from has {_counted(itself)}." if itself else ""


def seen_words(outcomes: Outcomes, found: Iterable[Seen]) -> list[str]:
    """A line for the summary; none if no test set shares anything."""
    parts = [
        f"{one.set}, of {one.rows} rows {_counted(known)} ({one.by}: {', '.join(one.corpora)})"
        for one in found
        if (known := {kind: count for kind, count in one.known.items() if _telling(outcomes, kind)})
    ]
    return [f"Test rows in common with other data: {'; '.join(parts)}."] if parts else []


def _telling(outcomes: Outcomes, kind: str) -> bool:
    """Whether sharing this says that a row itself was seen: prompts that many speakers read are in many transcripts."""
    return kind in ITSELF and not (kind == "target" and outcomes.spec["task"] == "asr")


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"the {kind} of {count}" for kind, count in counts.items())


def _readers(outcomes: Outcomes, replicate: str) -> dict[str, tuple[str, ...]]:
    """Who reads -> the corpora that no one before reads."""
    spec = outcomes.spec
    train = {c for names in spec.get("train", {}).get(replicate, {}).values() for c in names}
    dev = {c for names in spec["sets"][replicate].get("dev", {}).values() for c in names}
    read = {c for names in spec.get("read", {}).get(replicate, {}).values() for c in names}
    groups = {TRAINING: train, CHOOSING: dev - train, OTHERS: read - dev - train}
    return {by: tuple(sorted(corpora)) for by, corpora in groups.items()}


def _seen(outcomes: Outcomes, name: str, tested: Iterable[str], by: str, corpora: tuple[str, ...]) -> Seen:
    return Seen(name, len(outcomes.rows(tested)), by, corpora, outcomes.overlap(corpora, tested))


def _before(outcomes: Outcomes, name: str, tested: Iterable[str], node: str, before: Mapping[str, Any]) -> Seen:
    """By the rows where they are still there, else whole corpora by their fingerprints."""
    test = outcomes.rows(tested)
    there = tuple(c for c in before if c in outcomes.spec["corpora"] and Path(outcomes.spec["corpora"][c]).is_dir())
    counts = dict(outcomes.overlap(there, tested)) if there else {}
    kind = "audio" if outcomes.spec["task"] == "asr" else "source"
    gone = {content for c, content in before.items() if c not in there}
    whole = [c for c in tested if _fingerprint(outcomes, c) in gone]
    if whole:
        counts[kind] = max(counts.get(kind, 0), len(outcomes.rows(whole)))
    return Seen(name, len(test), node, tuple(outcomes.before[node]), counts)


def _fingerprint(outcomes: Outcomes, corpus: str) -> str:
    return read_json(Path(outcomes.spec["corpora"][corpus]) / "prepared.json")["fingerprint"]
