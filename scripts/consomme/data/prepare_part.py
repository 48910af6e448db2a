"""The stage's job of one part of a corpus: its rows are checked ahead of the job that prepares the corpus."""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Iterator

from consomme.common.files import remove_left_over, whole_folder
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.once import alone
from consomme.data.check import Checked
from consomme.data.limit import Limit
from consomme.data.parts import write_part
from consomme.data.prepare import Skipped, asked, begin, checked_rows, chosen, named, schema_for
from consomme.data.sources import Raw
from consomme.data.sources.base import BLOCK


def run(job: Job) -> None:
    """Check the rows of part `spec["part"]`, [PART, PARTS], and write what is found to the folder `job.out`."""
    (part, parts), (corpus, task, languages, data_root) = job.spec["part"], asked(job)
    source, name, identity = begin(job)
    join = corpus.get("join") if task == "asr" else None
    drawn = Limit(None if join else share(corpus.get("limit"), parts))
    lock = job.state / f"{part}-of-{parts}" / "lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with named(name), alone(lock) as locked:
        if locked:
            remove_left_over(job.out)
        # what is left out for other reasons than its own is told by the job of the whole corpus
        skipped, asked_for = Skipped(), collections.deque[int]()
        read = source.read_part(corpus, task, languages, data_root, part, parts)
        raws = chosen(read, corpus, skipped, itertools.count())

        def ours() -> Iterator[Raw]:
            for raw in raws:
                if source.part_of(raw.number, parts) == part and not drawn.hopeless(raw.id):
                    asked_for.append(raw.number)
                    yield raw

        def numbered() -> Iterator[tuple[int, Checked]]:
            for found in checked_rows(ours(), corpus, task, languages, drawn, skipped, job.threads):
                if found[1] is not None:
                    drawn.count(found[0])
                yield asked_for.popleft(), found

        with whole_folder(job.out) as folder:
            count, bad = write_part(folder, numbered(), task, schema_for(corpus, task, checked=True), identity)
    say(f"corpus '{name}', part {part} of {parts}: {count} rows checked, {bad} of them unusable")


def share(limit: int | None, parts: int) -> int | None:
    """How many rows of one part a limit may keep: its share, and so much more that another number is unlikely. If a part has
    more of them after all, the job of the whole corpus checks these."""
    if limit is None:
        return None
    mean = limit / parts
    return min(limit, math.ceil(1.1 * mean + 4 * math.sqrt(mean)) + BLOCK)
