"""What each step of a transformers Trainer takes and holds, and how long it waits for its batches."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Steps = Sequence[Mapping[str, float]]


def watch(count: Callable[[Any], Mapping[str, float]]) -> list[dict[str, float]]:
    """From here on every Trainer of this process notes its steps in the list that is returned.

    A step has `began` and `ended` (s, of one clock), `waited` (s, for its batches) and the sum of what `count` says of
    each of its batches."""
    from transformers import Trainer
    from transformers.trainer_callback import CallbackHandler

    steps: list[dict[str, float]] = []
    fetch, end = Trainer.get_batch_samples, CallbackHandler.on_step_end

    def fetching(self: Any, *given: Any, **more: Any) -> Any:
        began = time.perf_counter()
        batches, items = fetch(self, *given, **more)
        step = {"began": began, "waited": time.perf_counter() - began}
        for held in map(count, batches):
            step |= {key: step.get(key, 0) + value for key, value in held.items()}
        if batches:
            steps.append(step)
        return batches, items

    def ending(self: Any, *given: Any, **more: Any) -> Any:
        steps[-1]["ended"] = time.perf_counter()
        return end(self, *given, **more)

    Trainer.get_batch_samples, CallbackHandler.on_step_end = fetching, ending
    return steps


def rate(steps: Steps, what: str = "utterances") -> float:
    """So many a second, from the first step's beginning to the last one's end."""
    return sum(step[what] for step in steps) / (steps[-1]["ended"] - steps[0]["began"])


def share(steps: Steps, what: str, of: str) -> float:
    """One sum over another."""
    return sum(step[what] for step in steps) / sum(step[of] for step in steps)


def write(path: Path | str, steps: Steps) -> None:
    """As JSON."""
    Path(path).write_text(json.dumps(list(steps)), encoding="utf-8")


def read(path: Path | str) -> Steps:
    """What `write` wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))
