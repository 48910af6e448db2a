"""Shared by all stages: read the job, make its output once, show user errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from consomme.common import content
from consomme.common.digest import canonical, digest
from consomme.common.errors import ConsommeError, exit_on_error
from consomme.common.files import link_tree, remove_left_over, whole_folder
from consomme.common.job import Job, parse
from consomme.common.log import begin, say
from consomme.common.tidied import forget
from consomme.preload import hand_over


def build_once(job: Job, key: Any, build: Callable[[Path, Path], None]) -> bool:
    """Make `job.out` once for this `key`, even if the output is deleted in between.

    `build(folder, work)` fills the empty `folder`; `work` is a folder for checkpoints that survives a kill and is
    passed again at the next try. The finished folder is kept under `job.state/KEY/finished`, with the hashes of its files,
    and `job.out` links to these, which nobody may write: a job that is started again with the same inputs reuses it and
    computes nothing, unless it is damaged by then. A second process with the same key waits for the first. What is finished
    is only read: it may belong to another user. Returns whether it was built now."""
    place = job.state / digest(key)
    finished, built = place / "finished", False
    if not _whole(finished, job.cache):
        with _alone(place):
            built = not _whole(finished, job.cache)
            if built:
                remove_left_over(finished)
                (place / "key.json").write_text(canonical(key) + "\n", encoding="utf-8")
                work = place / "work"
                work.mkdir(exist_ok=True)
                with whole_folder(finished, read_only=True) as folder:
                    build(folder, work)
                    content.record(folder)
    with _written_to(job.out):
        link_tree(finished, job.out)
        forget(job.out)
    say(f"{'made' if built else 'found, nothing to compute:'} {job.out}")
    return built


def _whole(finished: Path, cache: Path) -> bool:
    """Whether finished work is there and as it was made."""
    if not finished.exists():
        return False
    if names := content.damaged_since(finished, cache):
        say(f"damaged, and made anew: {finished}: {', '.join(names)}")
    return not names


@contextmanager
def _alone(place: Path) -> Generator[None]:
    """No other process works in `place` meanwhile. Waits for another that does."""
    with _written_to(place):
        place.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place / "lock")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _written_to(path: Path) -> Generator[None]:
    """ConsommeError where this user may not write what belongs to another."""
    try:
        yield
    except PermissionError as error:
        raise ConsommeError(
            f"{error.filename or path}: may not be written by this user. Who shares a folder of results needs a common group, "
            "the folder's setgid bit, and umask 002 (docs/clusters.md)"
        ) from None


def main(run: Callable[[Job], None], description: str, argv: list[str] | None = None) -> None:
    """The `main` of every stage: parse, run, and show user errors without a traceback (exit code 2)."""
    # set before transformers is imported: no warnings about forked tokenizers, no advice
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    if argv is None and (status := hand_over(sys.argv[1:])) is not None:
        raise SystemExit(status)
    begin()  # this process may be a fork of an older one
    with exit_on_error():
        job = parse(argv, description)
        content.require_whole(job.inputs.values(), job.cache)
        run(job)
