"""Shared by all stages: read the job, make its output once, show user errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from consomme.common import content
from consomme.common.digest import canonical, digest
from consomme.common.errors import exit_on_error
from consomme.common.files import link_tree, remove_left_over, whole_folder, write_text
from consomme.common.job import Job, parse
from consomme.common.log import begin, say
from consomme.common.mirror import mirrored
from consomme.common.once import alone
from consomme.common.tidied import forget
from consomme.preload import hand_over


def build_once(
    job: Job, key: Any, build: Callable[[Path, Path], object], then: Callable[[Path, Path], None] | None = None
) -> bool:
    """Make `job.out` once for this `key`, even if the output is deleted in between.

    `build(folder, work)` fills the empty `folder`; `work` is a folder for checkpoints that survives a kill and is
    passed again at the next try. The finished folder is kept under `job.state/KEY/finished`, with the hashes of its files,
    and `job.out` links to these, which nobody may write: a job that is started again with the same inputs reuses it and
    computes nothing, unless it is damaged by then. `then(finished, work)` empties `work` once all that is on the disk; what
    it removes last is a file, so that a kill in between is noticed. A second process with the same key waits for the first.
    What is finished is only read: it may belong to another user. Returns whether it was built now."""
    place = job.state / digest(key)
    finished, work, built = place / "finished", place / "work", False
    if not _whole(finished, job.cache) or (then and any(path.is_file() for path in work.glob("*"))):
        place.mkdir(parents=True, exist_ok=True)
        with alone(place / "lock") as locked:
            built = not _whole(finished, job.cache)
            if built:
                if locked:
                    remove_left_over(finished)
                write_text(place / "key.json", canonical(key) + "\n")
                work.mkdir(exist_ok=True)
                with whole_folder(finished, read_only=True) as folder:
                    build(folder, work)
                    content.record(folder)
            if then:
                then(finished, work)
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


def main(run: Callable[[Job], None], description: str, argv: Sequence[str] | None = None) -> None:
    """The `main` of every stage: parse, run, and show user errors without a traceback (exit code 2)."""
    # set before transformers is imported: no warnings about forked tokenizers, no advice
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    if argv is None and (status := hand_over(sys.argv[1:])) is not None:
        raise SystemExit(status)
    begin()  # this process may be a fork of an older one
    with exit_on_error():
        job = parse(argv, description)
        with mirrored(job.inputs.values(), job.out, job.state, job.named):
            content.require_whole(job.inputs.values(), job.cache)
            run(job)
