"""The line that a start of the workflow leaves in the register: the claims, and the test scores that were known then."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

from consomme.register import chain
from consomme.register.chain import Chain, Line
from consomme.register.claims import Spec, claim_hash, claims_of, rows, subject
from consomme.register.scores import Score, contents, grouped, plan_of, planned, recorded, sheets


def place(spec: Spec) -> Path:
    """The register's file."""
    return Path(spec["register"]["path"])


def declare(spec: Spec, repository: Path, opened: Mapping[str, Sequence[str]] | None = None) -> None:
    """Add a line to the register if claims or test scores have changed since the last one, or a sealed test set is opened.

    repository: a folder in the repository of the configuration; opened: test set -> the models, NODE-DIGEST, that may be
    decoded on it from now on."""
    path = place(spec)
    known = chain.read(path)
    found, before = sheets(path.parent), recorded(known.lines)
    there = contents(found, Path("results/cache/register") / f"{spec['experiment']}.json")
    line = now(spec, known.lines, found)
    line["scores"] = grouped({score: content for score, content in there.items() if before.get(score) != content})
    if opened:
        line["opened"] = {test: sorted(models) for test, models in opened.items()}
    last = known.lines[-1] if known.lines else {}
    if opened or line["scores"] or line["claims"] != last.get("claims"):
        time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        chain.append(path, {"time": time, "commit": _commit(repository), **line})


def now(spec: Spec, lines: Iterable[Line], found: Iterable[Score]) -> dict[str, Any]:
    """The claims of a configuration and the number of test scores that are known, by test set: of those that it asks for
    (`scored` of `of`), and of other models and decodings (`besides`). A score is known if lines name it or it is there."""
    asked, known = planned(spec), {score[:3] for score in (*recorded(lines), *found)}
    scored, of = Counter(s for _, s, _ in asked & known), Counter(s for _, s, _ in asked)
    besides = Counter(s for _, s, _ in known - asked)
    tests = dict.fromkeys([*spec["register"]["tests"], *sorted(besides)])
    return {
        "experiment": spec["experiment"],
        # in an order that doesn't change when a sealed test set is opened
        "claims": sorted(
            (
                {"hash": claim_hash(spec, claim), "subject": subject(spec, claim), "claim": dict(claim)}
                for claim in claims_of(spec)
            ),
            key=itemgetter("hash"),
        ),
        "sets": {
            test: {"scored": scored[test], "of": of[test], "besides": besides[test]}
            | {"rows": rows(spec, test), "plan": plan_of(asked, test)}
            for test in tests
        },
    }


def with_this_start(spec: Spec, known: Chain, found: Iterable[Score]) -> Chain:
    """The register as it will be once the line of a start stands in it. found: the test scores that are there."""
    line = now(spec, known.lines, found)
    last = known.lines[-1] if known.lines else {}
    return replace(known, lines=(*known.lines, line)) if line["claims"] != last.get("claims") else known


def opened(lines: Iterable[Line]) -> dict[str, list[str]]:
    """Test set -> the models, NODE-DIGEST, that its seal was broken for. The first time counts."""
    found: dict[str, list[str]] = {}
    for line in lines:
        for test, models in (line.get("opened") or {}).items():
            found.setdefault(test, list(models))
    return found


def _commit(folder: Path) -> str:
    """The commit of the repository that a folder is in; empty if it is in none."""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
