"""What a checkpoint in a folder was made of before, if this product made it: the corpora that its records name."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from consomme.common.provenance import NAME


def corpora_before(folder: Path) -> dict[str, tuple[str, str]]:
    """Corpus -> (fingerprint, its prepared folder, or "" where that isn't there), of all corpora that the model or one of its
    ancestors and teachers was trained or chosen on, as far as their records lie beside it. Empty without a record."""
    folder = folder.resolve()
    if not (first := _read(folder / NAME)):
        return {}
    beside = {record.get("weights"): record for record in _all(folder.parent.glob(f"*/{NAME}"))}
    found: dict[str, str] = {}
    waiting, seen = [first], set()
    while waiting:
        record = waiting.pop()
        found |= {str(name): str(content) for name, content in _mapping(record.get("corpora")).items()}
        for kind in ("parents", "teachers"):
            for other in record.get(kind) or ():
                weights = _mapping(other).get("weights")
                if weights in beside and weights not in seen:
                    seen.add(weights)
                    waiting.append(beside[weights])
    places = folder.parent.parent.parent / "prepared"  # of RESULTS/EXPERIMENT/models/NODE-DIGEST
    prepared = {_read(path).get("fingerprint"): str(path.parent) for path in sorted(places.glob("*/prepared.json"))}
    return {name: (content, prepared.get(content, "")) for name, content in sorted(found.items())}


def _all(paths: Iterable[Path]) -> list[dict[str, Any]]:
    return [_read(path) for path in sorted(paths)]


def _read(path: Path) -> dict[str, Any]:
    """A record; empty if there is none that can be read, which others may have written."""
    try:
        return _mapping(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return {}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
