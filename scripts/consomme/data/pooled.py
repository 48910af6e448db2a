"""Rows of a corpus checked by several processes."""

from __future__ import annotations

import collections
import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from consomme.common.errors import ConsommeError
from consomme.data.check import DEFAULT_MAX_SECONDS, Checked
from consomme.data.sources import Raw

CHUNK = 32  # rows that one worker takes at a time, of up to DEFAULT_MAX_SECONDS each
FEW = 200  # rows of that kind up to which starting other processes takes longer than it saves


def pooled(
    check: Callable[[Raw], Checked], raws: Iterator[Raw], threads: int, longest: float, needed: int | None = None
) -> Iterator[Checked]:
    """`map(check, raws)` by several processes, in the order of `raws`. longest: seconds that a row may have; of long rows
    fewer wait, because each holds its audio. needed: how many rows may be enough; no more are read ahead. Raises
    ConsommeError where one of the processes was killed."""
    fewer = max(1.0, longest / DEFAULT_MAX_SECONDS)
    few, size = max(2, int(FEW / fewer)), max(1, int(CHUNK / fewer))
    first = list(itertools.islice(raws, min(few, needed or few)))
    if threads <= 1 or len(first) < few:
        yield from map(check, itertools.chain(first, raws))
        return
    # spawned, not forked: libraries of this process may hold locks that a fork would copy
    context = multiprocessing.get_context("spawn")
    pieces = chunks(itertools.chain(first, raws), size)
    pool = ProcessPoolExecutor(threads, context, _start, (check,))
    try:
        # a few chunks ahead of the writer, not the whole corpus: the rows that wait hold audio
        waiting = collections.deque(pool.submit(_work, c) for c in itertools.islice(pieces, 4 * threads))
        while waiting:
            yield from waiting.popleft().result()
            waiting.extend(pool.submit(_work, c) for c in itertools.islice(pieces, 1))
    except BrokenProcessPool:
        raise ConsommeError(
            f"one of {threads} processes that read rows was killed, most likely because the memory ran out. Start again with "
            "fewer of them (--set-threads prepare_corpus=1; by hand --threads 1), or with more memory "
            "(--set-resources prepare_corpus:mem_mb=N); for a part of a corpus, the rule is prepare_part"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def chunks(raws: Iterator[Raw], size: int) -> Iterator[list[Raw]]:
    """The rows, `size` at a time."""
    while chunk := list(itertools.islice(raws, size)):
        yield chunk


_check: Callable[[Raw], Checked]


def _start(check: Callable[[Raw], Checked]) -> None:
    global _check
    _check = check
    # torch is loaded with the first resampling: as many processes as threads, so one thread each
    os.environ["OMP_NUM_THREADS"] = "1"
    # a process that waits for work doesn't notice by itself that the one that started it was killed
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _work(chunk: list[Raw]) -> list[Checked]:
    return [_check(raw) for raw in chunk]
