"""What the files of a finished folder held when it was made: content.json, file -> hash. Damage is found by it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from consomme.common.digest import digest
from consomme.common.errors import ConsommeError
from consomme.common.files import hash_file, read_json, write_json
from consomme.common.kept_hashes import kept_hashes
from consomme.common.tidied import tidied

NAME = "content.json"
ADVICE = "Remove {folder} and run again: it is made anew, and what was made of it finds its finished work"

Hash = Callable[[Path], str]


def record(folder: Path, names: Iterable[str] | None = None) -> None:
    """Write `folder`/content.json for all files in it. names: those that were written now; others stay as recorded."""
    earlier: dict[str, str] = {}
    if names is not None:
        with suppress(ValueError, RecursionError):
            earlier = {name: content for name, content in recorded(folder).items() if (folder / name).exists()}
    now = sorted(_files(folder)) if names is None else names
    write_json(folder / NAME, earlier | {name: hash_file(folder / name) for name in now})


def recorded(folder: Path) -> dict[str, str]:
    """File -> hash, as recorded, of a model whose weights were removed for what is left; empty where nothing was. ValueError
    where the record itself is damaged."""
    try:
        found = read_json(folder / NAME)
    except FileNotFoundError:
        gone = tidied(folder)
        found = gone["content"] if gone else {}
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise ValueError(f"{folder / NAME} holds no names with hashes")
    return found


def damaged(folder: Path, hash_of: Hash = hash_file) -> list[str]:
    """The recorded files that are gone or hold something else by now, sorted; none where nothing is recorded. OSError where the
    disk can't say: what can't be read now may be whole."""
    try:
        known = recorded(folder)
    except (NotADirectoryError, ValueError, RecursionError):
        return [NAME]
    return sorted(name for name, content in known.items() if _hashed(folder / name, hash_of) != content)


def damaged_since(folder: Path, cache: Path) -> list[str]:
    """The same, of files that have changed since they were last found whole: hashes are kept in `cache`/verified, so that
    each version of a file is read once."""
    try:
        paths = {str(folder / name): folder / name for name in recorded(folder)}
        files = {text: (text, os.stat(path)) for text, path in paths.items() if path.is_file()}
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return [NAME]
    known_at = cache / "verified" / f"{digest(str(folder.absolute()))}.json"
    hashes = kept_hashes(files, known_at, hash_file)
    return damaged(folder, lambda path: hashes[str(path)])


def require_whole(folders: Iterable[Path], cache: Path) -> None:
    """ConsommeError if any of the models and prepared corpora in `folders` is damaged. Before a job reads them."""
    for folder in folders:
        if names := damaged_since(folder, cache):
            raise ConsommeError(told(folder, names))


def told(folder: Path, names: list[str]) -> str:
    """What is damaged, in words, and what to do."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    files = ", ".join(str(folder / name) for name in names[:3]) + more
    return f"{files}: damaged, not what was written when it was made. {ADVICE.format(folder=folder)}"


def _hashed(path: Path, hash_of: Hash) -> str | None:
    """None of a file that isn't there."""
    return hash_of(path) if path.is_file() else None


def _files(folder: Path) -> Iterable[str]:
    return (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p != folder / NAME)
