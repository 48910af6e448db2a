"""Evaluation while training: on the development sets, to stop early and to keep the best weights."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from consomme.common.log import say
from consomme.train import checkpoints
from consomme.train.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel

    from consomme.train.progress import Progress
    from consomme.train.running import Running

KEY = "objective"  # in Trainer's log_history, which its checkpoints store, so that a resumed training has it


class Development(TrainerCallback):
    """Evaluates every `every` steps and at the end.

    objective: model -> number, higher is better; patience: stop after this many evaluations without a new best; keep:
    write the best weights to `folder`; around: context in which evaluations run. Of several ranks the first one evaluates,
    and the others wait."""

    trainer: Running  # set before the training begins

    def __init__(
        self,
        objective: Callable[[PreTrainedModel], float],
        every: int,
        folder: Path,
        *,
        patience: int | None = None,
        keep: bool = False,
        around: Callable[[], AbstractContextManager[Any]] = nullcontext,
        ranks: Ranks = ALONE,
    ) -> None:
        self.objective, self.every, self.folder = objective, every, folder
        self.patience, self.keep, self.around, self.ranks = patience, keep, around, ranks
        self.progress: Progress | None = None
        self.needed: list[int] = []  # steps of the best weights that the newest checkpoint goes on with

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.needed = self._best(state)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **more: Any) -> None:
        if state.global_step % self.every and state.global_step < state.max_steps:
            return
        self.trainer.require_finite()
        # evaluations may draw random numbers or be cached: neither must change the training
        value = 0.0
        if self.ranks.first:
            devices = [args.device] if args.device.type == "cuda" else []
            with torch.random.fork_rng(devices=devices), self.around():
                value = self.objective(self.trainer.whole)
        value = self.ranks.of_first(value)
        state.log_history.append({"step": state.global_step, KEY: value})
        best = best_of(evaluations(state.log_history))
        if self.progress:
            self.progress.write({"step": state.global_step, KEY: value})
        new = best["step"] == state.global_step
        say(
            f"step {state.global_step}: development objective {value:.4f}, "
            + ("the best so far" if new else f"best {best[KEY]:.4f} at step {best['step']}")
        )
        if new and self.keep and self.ranks.first:
            checkpoints.write_weights(self.trainer.whole, self.weights(state.global_step))
        waited = sum(e["step"] > best["step"] for e in evaluations(state.log_history))
        if self.patience is not None and waited >= self.patience:
            say(f"step {state.global_step}: stopping: no new best for {waited} evaluations")
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Remove the best weights that neither this checkpoint nor the one before goes on with."""
        before, self.needed = self.needed, self._best(state)
        if self.keep and self.ranks.first:
            kept = {self.weights(step) for step in (*before, *self.needed)}
            for path in self.folder.glob("*.safetensors"):
                if path not in kept:
                    path.unlink()

    def _best(self, state: Any) -> list[int]:
        found = evaluations(state.log_history)
        return [best_of(found)["step"]] if found else []

    def weights(self, step: int) -> Path:
        """The file of the best weights, those of `step`."""
        return self.folder / f"{step}.safetensors"


def evaluations(history: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
    """The evaluations among Trainer's log entries, in order."""
    return [{"step": e["step"], KEY: e[KEY]} for e in history if KEY in e]


def best_of(found: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The best evaluation; the first of equals."""
    return max(found, key=lambda e: (e[KEY], -e["step"]))
