"""Time, content and wait for batches of each step of a transformers Trainer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Steps = Sequence[Mapping[str, float]]


def watch(count: Callable[[Any], Mapping[str, float]]) -> list[dict[str, float]]:
    """Patch Trainer so that each step in this process is appended to the returned list.

    A step has `began` and `ended` (s, of one clock), `waited` (s, for its batches) and the sums of `count` over its
    batches."""
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
    """Amount of `what` per second, from the beginning of the first step to the end of the last."""
    return sum(step[what] for step in steps) / (steps[-1]["ended"] - steps[0]["began"])


def share(steps: Steps, what: str, of: str) -> float:
    """Sum of `what` over all steps divided by the sum of `of`."""
    return sum(step[what] for step in steps) / sum(step[of] for step in steps)


def write(path: Path | str, steps: Steps) -> None:
    """Write the steps as JSON."""
    Path(path).write_text(json.dumps(list(steps)), encoding="utf-8")


def read(path: Path | str) -> Steps:
    """Read the steps that `write` wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))
