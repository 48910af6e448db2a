"""Checkpoints by the clock, and a last one when a signal came."""

from __future__ import annotations

import time
from typing import Any

from transformers import TrainerCallback

from consomme.train.interruption import Interrupted, Interruption

MINUTES = 10.0  # between two checkpoints; those after a tenth of the steps come besides


class Saving(TrainerCallback):
    """Asks Trainer for a checkpoint after a step. Whether it is asked changes no weight."""

    def __init__(self, minutes: float, interruption: Interruption) -> None:
        self.minutes, self.interruption = minutes, interruption

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.interruption.awaited = True
        self.last = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if self.interruption.came:
            control.should_save = control.should_log = True
        elif time.monotonic() - self.last >= 60 * self.minutes:
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.last = time.monotonic()
        if self.interruption.came:
            raise Interrupted(f"saved at step {state.global_step} of {state.max_steps}")
