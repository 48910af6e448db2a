"""No average at all, but what averages are measured against: the models' answers averaged, step by step or frame by frame.

It costs as much as all of them together (Hansen and Salamon 1990); a soup costs as much as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from consomme.average.methods.base import KEPT, Method, Mix

LEFT_ASIDE = {KEPT, "tensorboard", "zeroed", "provenance.json", "progress.jsonl", "curve.tsv"}


def build(mix: Mix, folder: Path) -> dict[str, Any]:
    """Link the members' files into `folder`/members and name them in ensemble.json; other files are the first one's."""
    from consomme.average.mean import copy_files
    from consomme.common.files import link_file, write_json
    from consomme.families.ensemble import FILE

    copy_files(next(iter(mix.parents.values())), folder)
    members = []
    for number, path in enumerate(mix.parents.values(), start=1):
        place = Path("members") / str(number)
        for file in sorted(path.rglob("*")):
            inside = file.relative_to(path)
            if file.is_file() and inside.parts[0] not in LEFT_ASIDE and not inside.name.startswith("."):
                (folder / place / inside).parent.mkdir(parents=True, exist_ok=True)
                link_file(file, folder / place / inside)
        members.append(place.as_posix())
    write_json(folder / FILE, {"members": members})
    return {"ingredients": list(mix.parents)}


ENSEMBLE = Method("ensemble", build, least=2, mixes=False)
