"""transformers' Trainer with our batches, losses, precision and checkpoints."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader
from transformers import Trainer
from transformers.trainer_callback import PrinterCallback

from consomme.common.errors import ConsommeError
from consomme.train import checkpoints, losses

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, TrainingArguments

    from consomme.families.base import Family
    from consomme.train.collate import Collator
    from consomme.train.distil import Teacher
    from consomme.train.examples import Examples
    from consomme.train.sampler import LengthGroupedBatches
    from consomme.train.taps import Taps


class Engine(Trainer):
    """Trains `model` on `examples` in the order of `batches`.

    smoothing: of labels, seq2seq only; precision: float32 or bfloat16 (autocast of the forward pass; weights, losses
    and optimizer stay float32)."""

    def __init__(
        self,
        model: PreTrainedModel,
        arguments: TrainingArguments,
        *,
        family: Family,
        examples: Examples,
        batches: LengthGroupedBatches,
        collator: Collator,
        smoothing: float = 0.0,
        precision: str = "float32",
        teacher: Teacher | None = None,
        taps: Taps | None = None,
        optimizer: tuple[type, dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=examples,
            data_collator=collator,
            optimizer_cls_and_kwargs=optimizer,
        )
        self.remove_callback(PrinterCallback)
        self.family, self.batches, self.smoothing = family, batches, smoothing
        self.teacher, self.taps = teacher, taps
        self.precision = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
        self.ctc = family.objective == "ctc"
        # seq2seq divides by the labels of all accumulated batches, which Trainer counts when told that it is wanted
        self.model_accepts_loss_kwargs = self.loss_is_scaled_for_ga = not self.ctc
        self.counted: list[dict[str, float]] = []  # of the batches since Progress last looked
        self.last_loss: Tensor | None = None

    # -- data --------------------------------------------------------------------------------------------------------
    def get_train_dataloader(self) -> DataLoader:
        """Our batches, as accelerate prepares them."""
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=self.batches,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return self.accelerator.prepare(loader)

    # -- loss --------------------------------------------------------------------------------------------------------
    def training_step(self, model: PreTrainedModel, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        self.counted.append(inputs.pop("counts"))
        self.last_loss = super().training_step(model, inputs, num_items_in_batch)
        if self.last_loss.device.type == "cpu":  # elsewhere the question waits until something is logged or saved
            self.require_finite()
        return self.last_loss

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The task's loss, mixed with that at the taps and with the teacher's opinion where there are any."""
        labels = inputs.pop("labels")
        if not self.ctc and "decoder_input_ids" not in inputs:
            inputs["decoder_input_ids"] = self.family.decoder_inputs(self.model, labels)
        listening = self.taps.listening(self.state.global_step) if self.taps else contextlib.nullcontext([])
        with listening as tapped:
            outputs = model(**inputs)
        logits = outputs.logits
        if self.ctc:
            frames = self.family.frames(self.model, inputs).to(logits.device)
            loss = losses.ctc(logits, labels, frames, self.model.config.pad_token_id)
            if self.taps:
                loss = self.taps.mixed(loss, tapped, inputs, labels)
            valid = torch.arange(logits.shape[1], device=logits.device) < frames[:, None] if self.teacher else None
            items = valid.sum() if self.teacher else None
        else:
            valid = labels != losses.IGNORED
            items = valid.sum() if num_items_in_batch is None else num_items_in_batch
            loss = losses.seq2seq(logits, labels, self.smoothing, items)
        if self.teacher:
            loss = self.teacher.mixed(loss, logits, inputs, valid, items)
        return (loss, outputs) if return_outputs else loss

    def compute_loss_context_manager(self) -> Any:
        """Autocast around the forward pass only, on every device alike.

        accelerate would wrap `model.forward` itself, and evaluations would then be in mixed precision too."""
        if self.precision == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.args.device.type, dtype=self.precision)

    def require_finite(self) -> None:
        """ConsommeError if the latest loss is not a finite number."""
        if self.last_loss is not None and not bool(torch.isfinite(self.last_loss)):
            step, rate = self.state.global_step + 1, self._get_learning_rate()
            raise ConsommeError(
                f"training diverged: the loss is {self.last_loss.item()} at step {step} of {self.state.max_steps} with "
                f"learning rate {rate:.3g} (of learning_rate {self.args.learning_rate:.3g}); lower learning_rate or "
                "max_grad_norm, warm up longer, or use precision float32"
            )

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: walking through all parameters at every step costs more than the number is worth."""
        return 0

    # -- checkpoints -------------------------------------------------------------------------------------------------
    def _maybe_log_save_evaluate(self, *given: Any, **more: Any) -> None:
        """No checkpoint of the last step: Trainer, resumed from one, would take a step too many."""
        if self.control.should_training_stop:
            self.control.should_save = False
        super()._maybe_log_save_evaluate(*given, **more)

    def _save_checkpoint(self, model: PreTrainedModel, trial: Any) -> None:
        """Trainer's checkpoint, which appears whole; the one before it goes only then."""
        self.require_finite()
        final = self.args.output_dir
        saving = Path(final) / "saving"
        shutil.rmtree(saving, ignore_errors=True)
        self.args.output_dir = str(saving)
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.output_dir = final
        checkpoints.place(saving / f"checkpoint-{self.state.global_step}", Path(final))
        os.rmdir(saving)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        """Weights only: config and tokenizer are the parent's, and no arguments are pickled."""
        checkpoints.write_weights(self.model, Path(output_dir or self.args.output_dir) / checkpoints.WEIGHTS)
