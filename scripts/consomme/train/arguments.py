"""The settings of a train node as transformers' TrainingArguments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError, nearest

if TYPE_CHECKING:
    from transformers import TrainingArguments

# schedules that follow evaluations: here evaluations only choose between checkpoints
REFUSED = ("reduce_lr_on_plateau", "greedy")
# keys that a schedule requires; `lr_scheduler_kwargs` overrides them
NEEDED = {"cosine_with_min_lr": {"min_lr_rate": 0.1}, "cosine_warmup_with_min_lr": {"min_lr_rate": 0.1}}
FEWEST, PARTS = 50, 10  # PARTS checkpoints a training, but at least FEWEST steps apart


def steps(settings: Mapping[str, Any], batches: int) -> int:
    """The number of optimizer steps, from max_steps or else num_train_epochs. batches: of one epoch."""
    if settings.get("max_steps"):
        return int(settings["max_steps"])
    if settings.get("num_train_epochs"):
        return math.ceil(settings["num_train_epochs"] * max(1, -(-batches // settings["gradient_accumulation_steps"])))
    raise ConsommeError("train: the length is missing; set max_steps or num_train_epochs")


def checkpoint_steps(total: int) -> int:
    """The number of steps between two checkpoints."""
    return max(FEWEST, total // PARTS)


def training_arguments(
    settings: Mapping[str, Any], *, total: int, seed: int, folder: Path, device: str, workers: int = 0
) -> TrainingArguments:
    """TrainingArguments for `total` steps on `device` ("cpu" or "cuda"), checkpoints under `folder`. workers: processes
    that read and augment."""
    import torch
    from transformers import TrainingArguments
    from transformers.trainer_utils import SchedulerType

    if device == "cuda" and not torch.cuda.is_available():
        raise ConsommeError("--device cuda: there is no CUDA device here; use --device cpu or auto")
    schedule = settings["lr_scheduler_type"]
    allowed = [s.value for s in SchedulerType if s.value not in REFUSED]
    if schedule not in allowed:
        raise ConsommeError(
            f"lr_scheduler_type: '{schedule}'{nearest(schedule, allowed)}; allowed: {', '.join(allowed)}"
        )
    warmup = settings["warmup_steps"] or math.ceil(settings["warmup_ratio"] * total)
    if schedule == "constant" and warmup:
        raise ConsommeError("lr_scheduler_type: constant does not warm up; write constant_with_warmup")
    if warmup > total:
        raise ConsommeError(f"warmup_steps ({warmup}) is longer than the run, which has {total} steps")
    more = dict(settings.get("lr_scheduler_kwargs") or NEEDED.get(schedule, {}))
    more = {key: int(value) if float(value).is_integer() else value for key, value in more.items()}
    if schedule == "warmup_stable_decay":
        more = {"num_decay_steps": max(1, total // 10), **more}
        parts = warmup + more["num_decay_steps"] + more.get("num_stable_steps", 0)
        if parts > total:
            raise ConsommeError(
                f"lr_scheduler_kwargs: warm-up ({warmup}), stable and decay steps are {parts} together, and the run has {total}"
            )
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=total,
        per_device_train_batch_size=settings["per_device_train_batch_size"] or 1,  # our sampler makes the batches
        gradient_accumulation_steps=settings["gradient_accumulation_steps"],
        learning_rate=settings["learning_rate"],
        lr_scheduler_type=schedule,
        lr_scheduler_kwargs=more,
        warmup_steps=warmup,
        optim="adamw_torch_fused",
        weight_decay=settings["weight_decay"],
        adam_beta1=settings["adam_beta1"],
        adam_beta2=settings["adam_beta2"],
        max_grad_norm=settings["max_grad_norm"],
        seed=seed,
        use_cpu=device == "cpu",
        save_strategy="steps",
        save_steps=checkpoint_steps(total),
        logging_strategy="no",  # Progress requests a log line every few seconds
        logging_nan_inf_filter=False,  # it would wait for the device at every step, and hide a loss that is not finite
        disable_tqdm=True,
        report_to="none",
        log_level="error",
        remove_unused_columns=False,
        dataloader_num_workers=workers,
        torch_compile=bool(settings.get("torch_compile")),
        dataloader_pin_memory=device == "cuda",
    )
    # one device: with more, Trainer uses DataParallel, which changes the batch size
    arguments.device  # noqa: B018 (counts the devices)
    arguments._n_gpu = min(arguments._n_gpu, 1)
    return arguments
