"""Progress every few seconds: a line in the log, a line in progress.jsonl, and figures for the trackers."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from consomme.common.files import read_text, write_text
from consomme.common.log import say
from consomme.train.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from consomme.train.running import Running
    from consomme.train.trackers import Run, Trackers

SECONDS = 5.0  # between two lines
# examples since the last line: with timestamps, after earlier text, and with earlier text that was cut
BESIDE = ("timestamps", "prompts", "cut_prompts")


class Progress(TrainerCallback):
    """Lets Trainer log every few seconds, and writes its numbers with the counts of the batches.

    audio: speed is seconds of audio per second, else target tokens per second. A resumed training removes lines after its
    first step, which are written again."""

    trainer: Running  # set before the training begins

    def __init__(self, path: Path, audio: bool, trackers: Trackers, run: Run, ranks: Ranks = ALONE) -> None:
        self.path, self.audio, self.trackers, self.run, self.ranks = path, audio, trackers, run, ranks

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.began = self.last = time.monotonic()
        self.first = state.global_step
        if not self.ranks.first:
            return
        lines = read_text(self.path).splitlines() if self.path.exists() else []
        kept = [line for line in lines if _step(line) <= state.global_step]
        write_text(self.path, "".join(f"{line}\n" for line in kept))
        self.trackers.open(replace(self.run, first=self.first))

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        due = time.monotonic() - self.last >= SECONDS or state.global_step >= state.max_steps
        if self.ranks.of_first(due):
            control.should_log = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
        if not logs or "loss" not in logs:  # Trainer's summary at the end
            return
        self.trainer.require_finite()
        now = time.monotonic()
        passed, self.last = max(now - self.last, 1e-9), now
        counted, self.trainer.counted = self.trainer.counted, []
        if not self.ranks.first:
            return
        held = {key: sum(c[key] for c in counted) for key in (counted[0] if counted else ())}
        speed = {"utterances_per_second": held.get("utterances", 0) / passed}
        if self.audio:
            speed["audio_seconds_per_second"] = held.get("seconds", 0) / passed
        else:
            speed["tokens_per_second"] = held.get("tokens", 0) / passed
        entry: dict[str, Any] = {
            "step": state.global_step,
            "loss": logs["loss"],
            "learning_rate": logs["learning_rate"],
            "grad_norm": _finite(logs.get("grad_norm")),
            "epoch": state.epoch,
            "padding": 1 - held["filled"] / held["room"] if held.get("room") else 0.0,
            "seconds": now - self.began,
            **speed,
        }
        entry |= {name: held[name] for name in BESIDE if held.get(name)}
        if self.trainer.loss_scale is not None:
            entry["loss_scale"] = self.trainer.loss_scale
        self.write(entry)
        left = (now - self.began) / max(state.global_step - self.first, 1) * (state.max_steps - state.global_step)
        throughput = (
            f"{speed['audio_seconds_per_second']:.0f} s of audio/s"
            if self.audio
            else f"{speed['tokens_per_second']:.0f} tokens/s"
        )
        say(
            f"step {state.global_step}/{state.max_steps}  loss {entry['loss']:.4f}  "
            f"learning rate {entry['learning_rate']:.2e}  {speed['utterances_per_second']:.1f} utterances/s  "
            f"{throughput}  padding {100 * entry['padding']:.0f} %  {_duration(left)} left"
        )

    def write(self, entry: dict[str, Any]) -> None:
        """Append one line to the file, and hand its figures to the trackers. Of several ranks the first one does."""
        if not self.ranks.first:
            return
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")
        figures = {
            name: value for name, value in entry.items() if name not in ("step", "seconds") and value is not None
        }
        self.trackers.log(figures, entry["step"])


def _finite(value: float | None) -> float | None:
    """None for what JSON has no number for: the norm of gradients that have overflowed."""
    return value if value is not None and math.isfinite(value) else None


def _step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):  # cut off by a kill
        return float("inf")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
