"""What several working folders share, where CONSOMME_CACHE names a folder: prepared corpora, features and labels, each by a digest
of what it was made of. Links in the working folders keep what they use, whatever becomes of that folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from consomme.common import content
from consomme.common.digest import digest
from consomme.common.files import link_tree, remove_left_over, whole_folder
from consomme.common.log import say
from consomme.common.once import alone


def shared_by_all(own: Path) -> Path:
    """The folder for what is shared; `own`, the working folder's, where none is named."""
    given = os.environ.get("CONSOMME_CACHE")
    return Path(given).absolute() if given else own


def once_for_all(
    key: Any, folder: Path, cache: Path, make: Callable[[Path], object], anywhere: Callable[[Path], bool]
) -> None:
    """Fill `folder` by `make`, or with what was made for the same `key` in another working folder, unless that is damaged. Who
    wants the same waits. cache: the working folder's; anywhere: whether what was made is right in all working folders."""
    place = shared_by_all(cache) / "prepared" / digest(key, 32)
    place.parent.mkdir(parents=True, exist_ok=True)
    with alone(Path(f"{place}.lock")) as locked:
        if place.exists() and not content.damaged_since(place, cache):
            link_tree(place, folder)
            say(f"found, made in another working folder: {place}")
            return
        make(folder)
        if not anywhere(folder):
            return
        if locked:
            remove_left_over(place)
        with whole_folder(place, read_only=True) as kept:
            link_tree(folder, kept)
            content.record(kept)
