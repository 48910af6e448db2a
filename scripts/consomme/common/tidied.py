"""Models whose weights were removed once everything was made. All else of their folder stays, and tidied.json says what is
gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from consomme.common.files import read_json, write_json

NAME, CONTENT, WEIGHTS = "tidied.json", "content.json", "*.safetensors"


def tidied(folder: Path) -> dict[str, Any] | None:
    """What is known of a model whose weights were removed: {"files": {name: bytes}, "content": {name: hash} of the files
    that are left, "costs": its rows of costs.tsv}. None if they are there, or were never made."""
    if (folder / CONTENT).exists() or not (folder / NAME).is_file():
        return None
    return read_json(folder / NAME)


def tidy(folder: Path, costs: Sequence[Mapping[str, str]]) -> int:
    """Remove the weights from the folder of a finished model, kept checkpoints and adapters too. Returns the bytes of these
    files. Whoever needs them waits for its content.json, which goes first: from then on the model counts as tidied."""
    weights = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob(WEIGHTS))}
    files = {name: path.stat().st_size for name, path in weights.items()}
    if (folder / CONTENT).exists():
        content = {name: found for name, found in read_json(folder / CONTENT).items() if name not in weights}
        write_json(folder / NAME, {"files": files, "content": content, "costs": [dict(row) for row in costs]})
        (folder / CONTENT).unlink()
    for path in weights.values():
        path.unlink()
    return sum(files.values())


def note_absent(folder: Path, sizes: Mapping[Path, int]) -> None:
    """Note what a folder that came here in part doesn't have, as of a model whose weights were removed. sizes: file -> bytes."""
    recorded = read_json(folder / CONTENT)
    here = {name: found for name, found in recorded.items() if (folder / name).is_file()}
    if len(here) < len(recorded):
        absent = {name: sizes.get(folder / name, 0) for name in recorded if name not in here}
        write_json(folder / NAME, {"files": absent, "content": here, "costs": []})
        (folder / CONTENT).unlink()
    else:
        forget(folder)


def forget(folder: Path) -> None:
    """The weights are there again."""
    with suppress(FileNotFoundError):
        (folder / NAME).unlink()
