"""Checkpoints by the clock, and a last one when a signal came."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from consomme.common.mirror import keep
from consomme.train.interruption import Interrupted, Interruption
from consomme.train.ranks import ALONE, Ranks

MINUTES = 10.0  # between two checkpoints; those after a tenth of the steps come besides


class Saving(TrainerCallback):
    """Asks Trainer for a checkpoint after a step. Whether it is asked changes no weight. Of several ranks the first one's clock
    counts, and a signal to any of them."""

    def __init__(self, minutes: float, interruption: Interruption, work: Path, ranks: Ranks = ALONE) -> None:
        self.minutes, self.interruption, self.work, self.ranks = minutes, interruption, work, ranks

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.interruption.awaited, self.ending = True, False
        self.last = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if self.ranks.any(bool(self.interruption.came)):
            self.interruption.came = self.interruption.came or "a signal to another process"
            self.ending = control.should_save = control.should_log = True
        elif self.ranks.of_first(time.monotonic() - self.last >= 60 * self.minutes):
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if self.ranks.first:
            keep(self.work)
        self.last = time.monotonic()
        if self.ending:
            raise Interrupted(f"saved at step {state.global_step} of {state.max_steps}")
