"""transformers' Trainer with our batches, losses, precision and checkpoints."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.utils.data import DataLoader
from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback, TrainerCallback, TrainerState

from consomme.common.errors import ConsommeError
from consomme.train import checkpoints, dropout, gradient_checkpointing, hidden, hybrid, losses
from consomme.train.ranks import ALONE, COUNTS, Ranks, untold
from consomme.train.share import IDLE, CollatePart, Share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from accelerate.optimizer import AcceleratedOptimizer
    from torch import Tensor
    from transformers import PreTrainedModel, TrainingArguments

    from consomme.families.base import Family
    from consomme.train.collate import Collator
    from consomme.train.distil import Teacher
    from consomme.train.examples import Examples
    from consomme.train.intermediate_ctc import IntermediateCtc
    from consomme.train.kept import Kept
    from consomme.train.layer_drop import LayerDrop
    from consomme.train.sampler import Batches
    from consomme.train.sharded_weights import ShardedWeights


PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LEAST_SCALE = 1e-4  # of float16's gradients; it begins at 2 ** 16 and is halved at each overflow, thirty times in a row


class Diverged(ConsommeError):
    """The loss is not finite, or above max_loss. step: optimizer step, from 1; loss: its value."""

    def __init__(self, message: str, step: int, loss: float) -> None:
        super().__init__(message)
        self.step, self.loss = step, loss


@dataclass(frozen=True)
class TrainerParts:
    """The parts of a trainer besides the model and TrainingArguments."""

    family: Family
    examples: Examples
    batches: Batches
    collator: Collator
    optimizer: Callable[[list[str]], torch.optim.Optimizer]  # names of parameters with weight decay -> optimizer
    smoothing: float = 0.0  # label smoothing, seq2seq only
    # of PRECISIONS: autocast of the forward pass; weights, losses and optimizer stay float32
    precision: str = "float32"
    teacher: Teacher | None = None
    intermediate_ctc: IntermediateCtc | None = None
    layer_drop: LayerDrop | None = None
    kept: Kept | None = None  # checkpoints kept for averaging
    ctc_weight: float = 0.0  # weight of the CTC loss on an encoder-decoder's encoder, 0..1
    max_loss: float | None = None  # a loss above it is divergence
    splits: int = 1  # parts of each microbatch, one forward pass each
    until: int | None = None  # the step of a rung: the training ends there, with a checkpoint to go on from
    ranks: Ranks = ALONE
    costs: Mapping[str, np.ndarray] | None = None  # corpus -> the work of each row, where there are several ranks
    sharded: ShardedWeights | None = None  # the weights, if they are dealt out to the ranks


class AsrNmtTrainer(Trainer):
    """Trains `model` on examples in the order of batches."""

    model: PreTrainedModel  # Trainer's own annotation allows any module, and none
    args: TrainingArguments

    def __init__(self, model: PreTrainedModel, arguments: TrainingArguments, parts: TrainerParts) -> None:
        super().__init__(model=model, args=arguments, train_dataset=parts.examples, data_collator=parts.collator)
        self.remove_callback(PrinterCallback)
        self.parts, self.family, self.ranks = parts, parts.family, parts.ranks
        self.folder = Path(str(arguments.output_dir))  # of the checkpoints
        self.precision = PRECISIONS[parts.precision]
        # float16 has no small numbers: the loss is multiplied before the backward pass, and the gradients divided after
        # it. Trainer saves the scale with its checkpoints
        self.scaler = torch.amp.GradScaler(arguments.device.type) if self.precision == torch.float16 else None
        self.accelerator.scaler = self.scaler
        self.ctc = parts.family.objective == "ctc"
        # losses are divided by the items of all accumulated batches, which Trainer counts if these are set
        self.model_accepts_loss_kwargs = self.loss_is_scaled_for_ga = True
        self.counted: list[dict[str, float]] = []  # of the steps since the last log line
        self.last_loss = torch.zeros(())  # sum over the step's batches so far
        self.own = torch.zeros(())  # this rank's part of it
        self.bad: tuple[Tensor, Tensor] | None = None  # the first step that diverged (0: none), and its loss
        self.tried = -1  # latest step whose weights produced the loss of every batch of the next step
        self.unproved: int | None = None  # step of remembered weights that have produced no loss yet
        self.utterances, self.batch = 1, 0  # of the step; number of the current batch in it
        if parts.kept:
            parts.kept.trainer = self
            self.add_callback(parts.kept)
        if parts.until is not None:
            self.add_callback(Rung(parts.until))

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            self.optimizer = self.parts.optimizer(self.get_decay_parameter_names(self.model))
            if self.parts.sharded:
                self.parts.sharded.follow(self.optimizer)
        return self.optimizer

    @property
    def whole(self) -> PreTrainedModel:
        """The model in one piece: of weights that are dealt out the first rank's copy, and no other rank has one."""
        copy = self.parts.sharded.whole if self.parts.sharded else None
        return copy or self.model

    # -- data --------------------------------------------------------------------------------------------------------
    def get_train_dataloader(self) -> DataLoader[Any]:
        """Our batches, or this rank's part of each, as accelerate prepares them."""
        data, collate = self.parts.examples, self.parts.collator
        if self.parts.costs is not None:
            spare = self.parts.sharded is not None
            data, collate = Share(data, self.parts.costs, self.ranks, spare), CollatePart(collate)
        loader = DataLoader(
            cast("Any", data),
            batch_sampler=self.parts.batches,
            collate_fn=cast("Any", collate),
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            persistent_workers=self.args.dataloader_num_workers > 0,
            generator=torch.Generator(),  # its own: workers would draw from the generator of the dropouts
        )
        return self.accelerator.prepare(loader)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor | int | None]:
        try:
            return super().get_batch_samples(epoch_iterator, num_batches, device)
        except ConsommeError as error:
            # torch wraps the error of a process that makes examples into a trace
            raise ConsommeError(str(error).rpartition("ConsommeError: ")[2].strip()) from None

    # -- loss --------------------------------------------------------------------------------------------------------
    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        """The number of labels of a step, of all ranks. Also counts what else is in it and resets the batch counter."""
        found = self.ranks.sums(**{name: sum(b["counts"][name] for b in batch_samples) for name in COUNTS})
        self.counted.append({name: found[name] for name in COUNTS})
        self.utterances, self.batch = int(found["utterances"]), 0
        return torch.tensor(int(found["labels"]), device=device)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        self.batch += 1
        if self.ranks.several and self.batch == 1:
            self.ranks.seed(self.args.seed, self.state.global_step)
        parts = [part for batch in inputs["microbatches"] for part in split(batch, self.parts.splits)]
        sharded = self.parts.sharded
        # compiled models have their own dropout
        with contextlib.nullcontext() if self.args.torch_compile else dropout.quick(), untold(sharded is not None):
            passes = sharded.passes(parts, inputs.get(IDLE)) if sharded else parts
            steps = (super(AsrNmtTrainer, self).training_step(model, part, num_items_in_batch) for part in passes)
            share = sum(steps, torch.zeros((), device=self.args.device))
        if self.ranks.several:
            share = self._added(share)
        if self.scaler and self.accelerator.sync_gradients:
            # before they are clipped; an overflow is noted, the step skipped
            self.scaler.unscale_(cast("AcceleratedOptimizer", self.optimizer).optimizer)
        # a batch has its share of the step's loss; max_loss limits the sum
        self.last_loss = share if self.batch == 1 else self.last_loss + share
        self._watch()
        # elsewhere the check would wait for the device: it is made before log lines and checkpoints
        if self.last_loss.device.type == "cpu":
            self.require_finite()
        # a step that is skipped must not hide the other losses of a log line
        return torch.where(torch.isfinite(share), share, 0.0) if self.scaler else share

    def _added(self, share: Tensor) -> Tensor:
        """The loss of the whole step with its last batch, whose gradients are then those of all ranks; 0 with the batches
        before. share: this rank's loss of a batch."""
        self.own = share if self.batch == 1 else self.own + share
        if not self.accelerator.sync_gradients:
            return torch.zeros_like(share)
        return self.ranks.add(self.model, self.own, gradients=not self.parts.sharded)

    def _watch(self) -> None:
        """Remember the first step with a loss that is not finite or above max_loss. On the device, without waiting for it.

        With float16 a loss that is not finite is an overflow: the step is skipped, and the next has a smaller scale."""
        loss, step = self.last_loss, self.state.global_step + 1
        if self.bad is None:
            self.bad = torch.zeros_like(loss, dtype=torch.float64), loss
        if self.batch == 1:
            self.tried = self.state.global_step - 1
        finite = torch.isfinite(loss)
        wrong = torch.zeros_like(finite) if self.scaler else ~finite
        if self.parts.max_loss is not None:
            wrong = wrong | (finite & (loss > self.parts.max_loss))
        first = wrong & (self.bad[0] == 0)
        self.bad = torch.where(first, step, self.bad[0]), torch.where(first, loss, self.bad[1])

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The task's loss, mixed with the intermediate CTC loss and the distillation loss if the settings have them."""
        if inputs.pop(IDLE, False):
            with gradient_checkpointing.counted_once(self.model):
                return 0.0 * self.compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)
        labels, step, teacher = inputs.pop("labels"), self.state.global_step, self.parts.teacher
        for_ctc = {key: inputs.pop(key) for key in ("ctc_labels", "lengths") if key in inputs}
        if not self.ctc and "decoder_input_ids" not in inputs:
            inputs["decoder_input_ids"] = self.family.decoder_inputs(self.model, labels)
        with contextlib.ExitStack() as around:
            around.enter_context(self.family.fitted(self.model, inputs))
            lower_states: list[Tensor] = []
            if self.parts.intermediate_ctc:
                lower_states = around.enter_context(self.parts.intermediate_ctc.capture(step))
            said = around.enter_context(teacher.listening(self.model)) if teacher else {}
            if self.parts.layer_drop:
                around.enter_context(self.parts.layer_drop.dropping(step, self.batch))
            outputs = model(**inputs)
        logits = outputs.logits
        if self.ctc:
            frames = self.family.frames(self.model, inputs).to(logits.device)
            loss = 0.0
            if not (teacher and teacher.alone):  # else labels are not used, and may be missing
                loss = self._ctc(
                    logits, labels, frames, lower_states, lambda s: self.family.head(self.model, s, inputs)
                )
            weights, items = losses.frame_weights(frames, logits.shape[1]), self.utterances
        elif self.family.objective == "transducer":
            frames = self.family.frames(self.model, inputs).to(logits.device)
            nll = self.family.lattice_nll(self.model, logits.float(), labels, frames)
            loss = losses.transducer(nll, labels, self.utterances)
            return (loss, outputs) if return_outputs else loss
        else:
            weights, items = (labels != losses.IGNORED).float(), num_items_in_batch
            loss = losses.seq2seq(logits, labels, self.parts.smoothing, items)
            if self.parts.ctc_weight:
                loss = self._hybrid(loss, outputs.encoder_last_hidden_state, for_ctc, lower_states)
        if teacher:
            places = hidden.place_weights(
                self.family, self.model, inputs, labels, said, self.utterances, num_items_in_batch
            )
            loss = teacher.mixed(loss, logits, inputs, weights, items, said, places)
        return (loss, outputs) if return_outputs else loss

    def _ctc(self, logits: Tensor, labels: Tensor, frames: Tensor, lower_states: list[Tensor], head: Any) -> Tensor:
        """The CTC loss of the top, mixed with that of lower layers under the same head."""
        blank = self.model.config.pad_token_id

        def loss(found: Tensor) -> Tensor:
            return losses.ctc(found, labels, frames, blank, self.utterances)

        intermediate = self.parts.intermediate_ctc
        return intermediate.mixed(loss(logits), [loss(head(s)) for s in lower_states]) if intermediate else loss(logits)

    def _hybrid(self, loss: Tensor, states: Tensor, for_ctc: dict[str, Tensor], lower_states: list[Tensor]) -> Tensor:
        """The decoder's loss mixed with CTC on the encoder's states."""
        frames = self.family.output_frames(self.model, for_ctc["lengths"])
        ctc = self._ctc(
            hybrid.top(self.model, states),
            for_ctc["ctc_labels"],
            frames,
            lower_states,
            lambda s: hybrid.below(self.model, self.family, s),
        )
        return (1 - self.parts.ctc_weight) * loss + self.parts.ctc_weight * ctc

    def compute_loss_context_manager(self) -> Any:
        """Autocast around the forward pass only, on every device alike.

        accelerate would wrap `model.forward` itself, and evaluations would then be in mixed precision too."""
        if self.precision == torch.float32:
            return contextlib.nullcontext()
        # a cache would keep the half copies of layers that are no longer whole
        return torch.autocast(self.args.device.type, dtype=self.precision, cache_enabled=not self.parts.sharded)

    def require_finite(self) -> None:
        """Raise Diverged if the loss of any step so far was not finite or above max_loss."""
        if self.bad is None:
            return
        step, limit = int(self.bad[0]), self.parts.max_loss
        if step == 0 and self.scaler and (scale := self.scaler.get_scale()) < LEAST_SCALE:
            raise Diverged(
                f"training diverged: the loss scale of precision float16 has fallen to {scale:.1g} at step "
                f"{self.state.global_step + 1} of {self.state.max_steps}: every step overflows. Use precision bfloat16 or "
                "float32, or lower learning_rate",
                self.state.global_step + 1,
                float(self.last_loss),
            )
        if step == 0:
            if self.unproved is not None and self.tried >= self.unproved:
                checkpoints.forget_older(self.folder)
                self.unproved = None
            return
        loss, rate = float(self.bad[1]), self._get_learning_rate()
        beyond = f", above max_loss {limit:g}," if math.isfinite(loss) else ""
        raise Diverged(
            f"training diverged: the loss is {loss:g}{beyond} at step {step} of {self.state.max_steps} with "
            f"learning rate {rate:.3g} (of learning_rate {self.args.learning_rate:.3g}); lower learning_rate or "
            "max_grad_norm, warm up longer, or use precision float32",
            step,
            loss,
        )

    @property
    def loss_scale(self) -> float | None:
        """The factor of the loss with precision float16; None with others."""
        return self.scaler.get_scale() if self.scaler else None

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        found = super()._get_grad_norm(model, grad_norm)
        return found.full_tensor() if self.parts.sharded else found

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: a pass over all parameters at every step is too slow for an unused number."""
        return 0

    # -- checkpoints -------------------------------------------------------------------------------------------------
    def _maybe_log_save_evaluate(self, *given: Any, **more: Any) -> None:
        """No checkpoint of the last step, but of a rung's: Trainer, resumed from one, would take a step too many."""
        if self.control.should_training_stop and self.state.global_step != self.parts.until:
            self.control.should_save = False
        super()._maybe_log_save_evaluate(*given, **more)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write Trainer's checkpoint, whole or not at all. The one before it stays.

        The weights of every `save_steps` are remembered, and those before them until these have produced a good loss: a run
        that diverges ends with the same weights, whenever signals and the clock asked for checkpoints."""
        self.require_finite()
        if self.ranks.several:
            self._collect()
        if not self.ranks.first:
            return
        saving, step = self.folder / "saving", self.state.global_step
        shutil.rmtree(saving, ignore_errors=True)
        checkpoints.make_room(self.folder)
        self.args.output_dir = str(saving)
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.output_dir = str(self.folder)
        saved = saving / f"checkpoint-{step}"
        if step % self.args.save_steps == 0:
            checkpoints.remember(saved, step, self.folder)
            self.unproved = step  # see `require_finite`
        checkpoints.place(saved, self.folder)
        os.rmdir(saving)

    def _collect(self) -> None:
        """Give the first rank all of the optimizer's state, and all weights."""
        from consomme.train.sharded_optimizer import Sharded

        optimizer = cast("AcceleratedOptimizer", self.optimizer).optimizer
        if self.parts.sharded:
            self.parts.sharded.gather()
            self.parts.sharded.collect(optimizer)
        elif isinstance(optimizer, Sharded):
            optimizer.collect()

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """Weights only: config and tokenizer are the parent's, and no arguments are pickled."""
        folder = Path(output_dir) if output_dir else self.folder
        checkpoints.write_weights(self.whole, folder / checkpoints.WEIGHTS)
        if self.parts.kept:
            self.parts.kept.save(folder)

    def reached(self, checkpoint: Path) -> bool:
        """Whether the checkpoint is that of the rung at which this training ends. If so, its weights and state are read."""
        if checkpoint.name != f"checkpoint-{self.parts.until}":
            return False
        self._load_from_checkpoint(str(checkpoint))
        self.state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
        return True

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        sharded = self.parts.sharded
        if not sharded or self.ranks.first:
            checkpoints.read_weights(self.whole, Path(resume_from_checkpoint) / checkpoints.WEIGHTS)
        if sharded:
            sharded.scatter()
        if self.parts.kept:
            self.parts.kept.load(Path(resume_from_checkpoint))


class Rung(TrainerCallback):
    """Ends a training at a step before its last one, with a log line and a checkpoint."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if state.global_step == self.step:
            control.should_log = control.should_save = control.should_training_stop = True


def split(inputs: dict[str, Any], parts: int) -> list[dict[str, Any]]:
    """Cut a microbatch by rows into `parts`, or one part per row if it has fewer rows."""
    rows = len(inputs["labels"])
    size = -(-rows // min(parts, rows))
    return [{k: v[start : start + size] for k, v in inputs.items()} for start in range(0, rows, size)]
