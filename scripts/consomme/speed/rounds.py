"""Measurements of several models in turn, round after round, so that a temporary slowdown of the machine affects all of them.
Each round runs in its own process, so that memory peaks are separate."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from consomme.common.errors import ConsommeError
from consomme.common.log import say
from consomme.speed.architecture import architecture
from consomme.speed.measure import enough, measure, together

LIMIT = 30.0  # seconds: a model whose rounds have taken that, with their starts, gets no more


class Timed(NamedTuple):
    """A model, and the window that it is measured in: full or short."""

    name: str
    folder: Path
    window: str


def in_turn(models: Sequence[Timed], spec: Mapping[str, Any], device: str, threads: int) -> list[dict[str, Any]]:
    """The measurements of each model: rounds until its speed is known to 5 %, or `LIMIT` has passed. Models of one
    architecture (same config, same shapes of weights) in one window share those of the first of them.

    spec: sets, corpora, languages and decoding, as `measure` takes them."""
    keys = [(architecture(model.folder), model.window) for model in models]
    first: dict[tuple[str, str], Timed] = {}
    for key, model in zip(keys, models, strict=True):
        first.setdefault(key, model)
    rounds: dict[tuple[str, str], list[dict[str, Any]]] = {key: [] for key in first}
    spent = dict.fromkeys(first, 0.0)
    going, number = list(first), 0
    while going:
        number += 1
        say(f"round {number}: {', '.join(first[key].name for key in going)}")
        for key in going:
            windowed = {**spec, "decoding": {**(spec.get("decoding") or {}), "window": key[1]}}
            began = time.monotonic()
            rounds[key].append(_apart(first[key].folder, windowed, device, threads, number == 1))
            spent[key] += time.monotonic() - began
        going = [key for key in going if not enough([one["speed"] for one in rounds[key]]) and spent[key] < LIMIT]
    found = {key: together(several) for key, several in rounds.items()}
    return [found[key] for key in keys]


def _apart(folder: Path, spec: Mapping[str, Any], device: str, threads: int, count_flops: bool) -> dict[str, Any]:
    # a forked child has the imports already; CUDA can't be used after a fork and needs a new process, and so would a parent that
    # has computed with several threads
    fork = device == "cpu" and sys.platform.startswith("linux")
    if fork:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    context: Any = multiprocessing.get_context("fork" if fork else "spawn")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=_measure_into, args=(send, str(folder), dict(spec), device, threads, count_flops))
    child.start()
    send.close()
    try:
        kind, answer = receive.recv()
    except EOFError:
        raise ConsommeError(
            f"{folder} could not be measured: the process was killed, perhaps for lack of memory"
        ) from None
    finally:
        child.join()
    if kind == "error":
        raise ConsommeError(f"{folder} could not be measured: {answer}")
    return answer


def _measure_into(send: Any, folder: str, spec: dict[str, Any], device: str, threads: int, count_flops: bool) -> None:
    try:
        send.send(("measured", measure(Path(folder), spec, device, threads, count_flops)))
    except Exception as error:  # the only way to pass it to the parent
        send.send(("error", f"{type(error).__name__}: {error}"))
