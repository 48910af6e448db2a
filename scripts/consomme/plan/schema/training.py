"""`train:` all settings of a training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from consomme.common.settings import Name, Section
from consomme.common.values import Integer, Number, Text
from consomme.plan.schema.augmentation import Augment
from consomme.plan.schema.choice import Goal
from consomme.plan.schema.corpora import Data
from consomme.plan.schema.node import Node


class Distil(Section):
    """Distillation from a teacher's logits (Hinton et al. 2015, arXiv 1503.02531), and from its hidden states."""

    weight: Number = Field(
        0.5, ge=0, le=1, description="of the teacher's loss; the rest is the task's. 1: CTC needs no labels"
    )
    temperature: Number = Field(2.0, gt=0)
    hidden: Number | None = Field(
        None, gt=0, description="beside these: of the distance between the layers' states and the teacher's"
    )


class IntermediateCtc(Section):
    """The CTC loss also at layers below the top (Lee and Watanabe 2021, arXiv 2102.03216)."""

    layers: list[Integer] | None = Field(None, min_length=1, description="these, from 1")
    spread: Integer | None = Field(None, ge=1, description="so many, at even distances")
    random: Integer | None = Field(None, ge=1, description="so many, drawn anew each step")
    weight: Number = Field(0.3, gt=0, lt=1, description="of the mean of their losses; the rest is the top's")

    @model_validator(mode="after")
    def _one(self) -> IntermediateCtc:
        if sum(value is not None for value in (self.layers, self.spread, self.random)) != 1:
            raise ValueError("intermediate_ctc has one of layers, spread, random")
        return self


class Lora(Section):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685), merged into the weights when the model is saved."""

    r: Integer = Field(8, ge=1)
    lora_alpha: Number = Field(16, gt=0)
    lora_dropout: Number = Field(0.0, ge=0, lt=1)
    target_modules: list[Text] | None = Field(
        None, description="patterns of module names; default: the queries and values of every attention"
    )


class Checkpoints(Section):
    """Weights kept beside the model's own, for averages within one run; each costs the disk of a model."""

    every: Integer = Field(ge=1, description="steps between two that are looked at")
    last: Integer | None = Field(None, ge=1, description="keep so many of the last")
    best: Integer | None = Field(None, ge=1, description="keep so many of the best; needs eval_steps")
    ema: Number | None = Field(None, gt=0, lt=1, description="exponential moving average with this decay, each step")
    mean: bool = Field(False, description="running mean since step 0, stored each time")

    @model_validator(mode="after")
    def _something(self) -> Checkpoints:
        if not (self.last or self.best or self.ema or self.mean):
            raise ValueError("checkpoints keep at least one of last, best, ema, mean")
        return self


Dropout = Annotated[Number, Field(ge=0, lt=1)]
Precision = Literal["float32", "bfloat16"]
Schedule = Literal[
    "constant",
    "constant_with_warmup",
    "linear",
    "cosine",
    "cosine_with_min_lr",
    "inverse_sqrt",
    "warmup_stable_decay",
]
SCHEDULER_KWARGS = {
    "cosine": ("num_cycles",),
    "cosine_with_min_lr": ("min_lr", "min_lr_rate"),
    "inverse_sqrt": ("timescale",),
    "warmup_stable_decay": ("num_decay_steps", "num_stable_steps", "min_lr_ratio"),
}
Optimizer = Literal["adamw_torch_fused", "adafactor", "sgd", "lion", "muon"]


BATCHES = ("per_device_train_batch_size", "batch_seconds", "batch_tokens")


class TrainNode(Node):
    """Training of a model; settings carry the names of transformers' TrainingArguments where it has them."""

    train: Text = Field(description="the model to train")
    data: Data | None = None
    augment: Augment | None = None
    max_steps: Integer | None = Field(None, ge=1)
    num_train_epochs: Number | None = Field(None, gt=0)
    per_device_train_batch_size: Integer | None = Field(
        None, ge=1, description="utterances or sentences; default 16, unless batch_seconds or batch_tokens is given"
    )
    batch_seconds: Number | None = Field(None, gt=0, description="asr: of audio in a batch")
    batch_tokens: Integer | None = Field(None, ge=1, description="nmt: in a batch, of the longer side of each pair")
    train_sampling_strategy: Literal["random", "group_by_length"] = Field(
        "random", description="rows of a batch: any, or of like lengths; see docs/training.md"
    )
    gradient_accumulation_steps: Integer = Field(1, ge=1)
    learning_rate: Number = Field(1e-4, gt=0)
    learning_rates: dict[Text, Annotated[Number, Field(gt=0)]] | None = Field(
        None, description="others for encoder, decoder, head, or a pattern of tensor names; the first that fits counts"
    )
    layerwise_lr_decay: Number | None = Field(None, gt=0, le=1, description="a layer's rate over that of the one above")
    freeze: list[Text] | None = Field(None, description="encoder, decoder, head, or patterns of tensor names")
    lora: Lora | None = None
    lr_scheduler_type: Schedule = "cosine"
    lr_scheduler_kwargs: dict[str, Number] | None = Field(None, description="min_lr_rate, num_decay_steps, ...")
    warmup_steps: Integer = Field(0, ge=0)
    warmup_ratio: Number = Field(0.0, ge=0, lt=1)
    optim: Optimizer = "adamw_torch_fused"
    momentum: Number | None = Field(None, ge=0, lt=1, description="sgd; default 0.9; muon: 0.95")
    weight_decay: Number = Field(0.0, ge=0)
    adam_beta1: Number = Field(0.9, ge=0, lt=1)
    adam_beta2: Number = Field(0.999, ge=0, lt=1)
    max_grad_norm: Number = Field(1.0, ge=0)
    label_smoothing_factor: Number = Field(0.0, ge=0, lt=1)
    dropout: Dropout | dict[Text, Dropout] | None = Field(
        None, description="every dropout of the model, or {key of its config: rate}; default: as it is"
    )
    encoder_layerdrop: Number = Field(0.0, ge=0, lt=1, description="stochastic layer drop (Fan et al. 2019)")
    decoder_layerdrop: Number = Field(0.0, ge=0, lt=1)
    layerdrop_by_depth: Literal["constant", "linear"] | None = Field(
        None, description="linear: layer l of L has l/L of the rate; default constant"
    )
    layerdrop_warmup_ratio: Number | None = Field(
        None, gt=0, le=1, description="steps over which the rate rises from 0"
    )
    ctc_weight: Number | None = Field(None, gt=0, lt=1, description="encoder-decoder: of CTC on the encoder (hybrid)")
    intermediate_ctc: IntermediateCtc | None = None
    precision: Precision = Field("float32", description="bfloat16: mixed; part of the model's identity")
    torch_compile: bool | None = Field(None, description="compile the forward and backward pass; see docs/training.md")
    window: Literal["full", "short"] | None = Field(
        None, description="Whisper: 30 s, or as long as each batch needs; default: as the parent was trained"
    )
    full_windows: Number | None = Field(
        None, ge=0, le=1, description="short windows: the share of the batches that get the full one; default 0.05"
    )
    max_loss: Number | None = Field(None, gt=0, description="a loss above it ends the run as diverged")
    checkpoints: Checkpoints | None = None
    seed: Integer = Field(1, description="together with the replicate's")
    eval_steps: Integer = Field(0, ge=0, description="evaluate on the development sets every so many steps; 0: never")
    early_stopping_patience: Integer | None = Field(None, ge=1, description="evaluations without a gain")
    load_best_model_at_end: bool = Field(False, description="keep the best evaluated step, not the last")
    choose_on: dict[Name, Goal] | None = Field(None, description="development sets that choose; default: all of them")
    metric: Text | None = Field(None, description="for choose_on; default: the experiment's")
    distil_from: Text | None = Field(None, description="the teacher")
    distil: Distil | None = None

    @model_validator(mode="after")
    def _consistent(self) -> TrainNode:
        if (self.max_steps is None) == (self.num_train_epochs is None):
            raise ValueError("training has one of max_steps, num_train_epochs")
        given = [k for k in BATCHES if getattr(self, k) is not None]
        if len(given) > 1:
            raise ValueError(f"a batch is filled in one way; given: {', '.join(given)}")
        if self.checkpoints and self.checkpoints.best and not self.eval_steps:
            raise ValueError("checkpoints.best needs eval_steps: what is best is seen on the development sets")
        if self.checkpoints and self.checkpoints.best and self.checkpoints.every % self.eval_steps:
            raise ValueError(
                f"checkpoints.every ({self.checkpoints.every}) must be a multiple of eval_steps ({self.eval_steps}): "
                "the best are among the evaluated"
            )
        if self.lora and self.checkpoints:
            raise ValueError("lora and checkpoints: adapters are merged at the end only; leave one of them out")
        if self.torch_compile and (self.encoder_layerdrop or self.decoder_layerdrop or self.intermediate_ctc):
            raise ValueError("torch_compile would compile anew for every set of layers; leave out layer drop and taps")
        if self.lora and self.freeze:
            raise ValueError("lora freezes all but its adapters; leave freeze out")
        if not (self.encoder_layerdrop or self.decoder_layerdrop):
            for key in ("layerdrop_by_depth", "layerdrop_warmup_ratio"):
                if getattr(self, key) is not None:
                    raise ValueError(f"{key} needs encoder_layerdrop or decoder_layerdrop")
        if self.max_steps is not None and self.warmup_steps > self.max_steps:
            raise ValueError(f"warmup_steps ({self.warmup_steps}) is longer than the run (max_steps {self.max_steps})")
        if self.lr_scheduler_type == "constant" and (self.warmup_steps or self.warmup_ratio):
            raise ValueError("lr_scheduler_type constant has no warm-up; constant_with_warmup has")
        if self.lr_scheduler_kwargs is not None and self.lr_scheduler_type not in SCHEDULER_KWARGS:
            raise ValueError(f"lr_scheduler_kwargs: {self.lr_scheduler_type} takes none")
        for key in self.lr_scheduler_kwargs or {}:
            if key not in (allowed := SCHEDULER_KWARGS[self.lr_scheduler_type]):
                raise ValueError(
                    f"lr_scheduler_kwargs: {self.lr_scheduler_type} has no {key}; it has {', '.join(allowed)}"
                )
        given = self.lr_scheduler_kwargs or {}
        if "min_lr" in given and "min_lr_rate" in given:
            raise ValueError("lr_scheduler_kwargs has one of min_lr, min_lr_rate")
        if below := next((key for key, value in given.items() if value < 0), None):
            raise ValueError(f"lr_scheduler_kwargs: {below} is {given[below]:g}; it can't be below 0")
        if self.max_steps is not None and self.warmup_steps + given.get("num_decay_steps", 0) > self.max_steps:
            raise ValueError(
                f"lr_scheduler_kwargs: warm-up and num_decay_steps are longer than max_steps {self.max_steps}"
            )
        if self.momentum is not None and self.optim not in ("sgd", "muon"):
            raise ValueError(f"momentum belongs to sgd and muon, and optim is {self.optim}")
        if self.warmup_steps and self.warmup_ratio:
            raise ValueError("training has one of warmup_steps, warmup_ratio")
        if not self.eval_steps and (self.early_stopping_patience or self.load_best_model_at_end):
            raise ValueError("early_stopping_patience and load_best_model_at_end need eval_steps")
        if self.distil and not self.distil_from:
            raise ValueError("distil needs distil_from: the teacher's name")
        if self.distil and self.distil.weight == 1:
            for key in ("intermediate_ctc", "ctc_weight", "label_smoothing_factor"):
                if getattr(self, key):
                    raise ValueError(f"{key} is part of the task's loss, which distil.weight 1 leaves out")
        if self.distil and self.distil.hidden and self.torch_compile:
            raise ValueError("torch_compile doesn't see what distil.hidden listens to; leave one of them out")
        return self
