"""Results of a store, brought here for people to read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from consomme.common import content
from consomme.common.errors import ConsommeError
from consomme.common.files import read_json
from consomme.common.mirror import EXPERIMENT, STORE, bring, light, sizes
from consomme.common.tidied import note_absent
from consomme.report.links import write_links
from consomme.report.write import FILES, REPORTED

RESULTS = Path("results")


def bring_pages(folder: Path) -> None:
    """Bring the report of an experiment, its tables and its register."""
    bring(*(folder / name for name in {*EXPERIMENT, *(Path(pattern).parts[0] for pattern in FILES)}))


def fetch(address: str, places: Sequence[Path] = ()) -> str:
    """Bring these folders and files of results/, or else all texts, and make the links in current/. Returns a line about it.
    ConsommeError where the store has nothing there."""
    os.environ[STORE] = address
    if odd := [place for place in places if place.parts[:1] != RESULTS.parts]:
        raise ConsommeError(f"{odd[0]}: paths begin with {RESULTS}/, as in the store")
    found = bring(*places) if places else bring(RESULTS, wanted=light)
    if not found:
        raise ConsommeError(f"{address} has no {', '.join(map(str, places or [RESULTS]))}")
    there = sizes(RESULTS)
    for record in [*RESULTS.glob(f"*/models/*/{content.NAME}"), *RESULTS.glob(f"prepared/*/{content.NAME}")]:
        note_absent(record.parent, there)
    for reported in RESULTS.glob(f"*/{REPORTED}"):
        spec = read_json(reported)
        write_links(spec["models"], reported.parent.parent, spec["replicates"])
    return f"{found} files of {address}/{RESULTS} are here now"
