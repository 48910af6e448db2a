"""`train:` the settings of training."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from consomme.common.settings import Chosen, Name, Section
from consomme.common.values import Integer, Number, Part, Text
from consomme.plan.schema.augmentation import Augment
from consomme.plan.schema.choice import Goal
from consomme.plan.schema.corpora import Data
from consomme.plan.schema.node import Node, Sweep
from consomme.train.optimizers import TABLE as OPTIMIZERS


class Distil(Section):
    """Distillation from a teacher's logits (Hinton et al. 2015, arXiv 1503.02531), and from its hidden states."""

    weight: Number = Field(
        0.5,
        ge=0,
        le=1,
        description="weight of the teacher's loss; the task's loss has 1 - weight. With 1 a CTC student needs no transcripts",
    )
    temperature: Number = Field(
        2.0, gt=0, le=1000, description="divides the logits; the loss is multiplied by its square"
    )
    hidden: Number | None = Field(
        None,
        gt=0,
        le=10**6,
        description="weight of the distance between hidden states, a third loss that is added; default: none",
    )


class IntermediateCtc(Section):
    """The CTC loss also at layers below the top (Lee and Watanabe 2021, arXiv 2102.03216)."""

    layers: list[Integer] | None = Field(None, min_length=1, description="these layers, counted from 1")
    spread: Integer | None = Field(None, ge=1, le=1000, description="this many layers, at even distances")
    random: Integer | None = Field(None, ge=1, le=1000, description="this many layers, drawn anew at each step")
    weight: Number = Field(
        0.3, gt=0, lt=1, description="weight of the mean of their losses; the top layer's loss has 1 - weight"
    )

    @model_validator(mode="after")
    def _one(self) -> IntermediateCtc:
        if sum(value is not None for value in (self.layers, self.spread, self.random)) != 1:
            raise ValueError("intermediate_ctc has one of layers, spread, random")
        return self


class Lora(Section):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685), merged into the weights when the model is saved.

    The new weights are W + s · B·A, with s = lora_alpha / r."""

    r: Integer = Field(8, ge=1, le=65536, description="rank of the adapters")
    lora_alpha: Number = Field(16, gt=0, le=10**6, description="the adapters are scaled by lora_alpha / r")
    lora_dropout: Number = Field(0.0, ge=0, lt=1, description="dropout before the adapters")
    target_modules: list[Text] | None = Field(
        None, description="patterns of module names; default: the queries and values of every attention"
    )
    use_rslora: bool | None = Field(
        None, description="divide lora_alpha by the root of r instead of r (rsLoRA, arXiv 2312.03732); default: no"
    )
    use_dora: bool | None = Field(
        None,
        description="train the length of each row of a weight apart from its direction (DoRA, arXiv 2402.09353); default: no",
    )
    keep: bool | None = Field(
        None,
        description="also write the adapters by themselves to adapter/ in the model's folder, for peft and for averages of adapters; the weights beside them are merged in any case; default: no",
    )


class Checkpoints(Section):
    """Checkpoints kept in addition to the model, for averages within one run. Each takes the disk space of a model."""

    every: Integer = Field(ge=1, le=10**9, description="steps between checkpoints")
    last: Integer | None = Field(None, ge=1, le=10**6, description="keep this many of the last")
    best: Integer | None = Field(
        None, ge=1, le=10**6, description="keep this many of the best on the development sets; needs eval_steps"
    )
    ema: Number | None = Field(None, gt=0, lt=1, description="decay of an exponential moving average of every step")
    mean: bool = Field(False, description="at each checkpoint, keep the running mean of the weights since step 0")

    @model_validator(mode="after")
    def _something(self) -> Checkpoints:
        if not (self.last or self.best or self.ema or self.mean):
            raise ValueError("checkpoints keep at least one of last, best, ema, mean")
        return self


class Halving(Section):
    """Successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943): all runs train to the first rung, the best of them to
    the next, and so on. The schedule of the learning rate spans the last rung; to an earlier one, a run is the beginning of
    the whole training."""

    rungs: list[Integer] = Field(
        min_length=2,
        description="steps after which runs are compared; the last is max_steps, where those that are left end",
    )
    keep: Part = Field(
        description="the share of the runs of a rung that go on, rounded down, but one at least; the node's metric and choose_on choose them, on development sets",
        examples=["1/3"],
    )

    @field_validator("rungs")
    @classmethod
    def _rising(cls, rungs: list[int]) -> list[int]:
        if rungs[0] < 1 or any(after <= before for before, after in pairwise(rungs)):
            raise ValueError("rungs are steps, from 1, and each is higher than the one before")
        return rungs


class Search(Section):
    """A study with Optuna's TPE (Bergstra et al. 2011). The other keys are those that are searched, as in `random`."""

    n: Annotated[Integer, Field(ge=1)] = Field(description="how many runs, here called trials")
    batch: Annotated[Integer, Field(ge=1)] = Field(
        4, description="how many of them are trained side by side; all before them decide where the next so many lie"
    )
    seed: Integer = Field(0, description="of the random numbers, the same in every replicate")

    @model_validator(mode="after")
    def _generations(self) -> Search:
        if self.n < self.batch:
            raise ValueError(
                f"n is {self.n} and batch {self.batch}: n counts all trials, batch those of one generation; give an n of at least "
                f"{self.batch}, better some times as many, or a smaller batch"
            )
        return self


class TrainSweep(Sweep):
    """The sweep of a training, which may also learn from its runs where to look, or stop runs early."""

    optuna: dict[str, Any] | None = Field(
        None,
        description="`n` trials in generations of `batch` (4): the first drawn with `seed` as in `random`, each later one where "
        "Optuna expects better scores on development sets; other keys: a list, {uniform: [a, b]} or {log_uniform: [a, b]}",
    )
    halving: Halving | None = Field(None, description="stop the worse runs early; default: all run to their end")

    @model_validator(mode="after")
    def _whole(self) -> TrainSweep:
        if self.optuna is not None and self.halving is not None:
            raise ValueError("optuna learns from whole runs, and halving stops some; leave one of them out")
        return self


Dropout = Annotated[Number, Field(ge=0, lt=1)]
Precision = Literal["float32", "bfloat16", "float16"]
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


BATCHES = ("per_device_train_batch_size", "batch_seconds", "batch_tokens")


# keys of Seq2SeqTrainingArguments that have another name here or aren't needed
_DEVELOPMENT = "eval_steps: N evaluates on the development sets every N steps"
TRANSFORMERS = {
    "auto_find_batch_size": "batches are split automatically if memory is too small",
    "bf16": "write precision: bfloat16",
    "dataloader_num_workers": "workers follow the job's threads: --set-threads train_model=N",
    "eval_strategy": _DEVELOPMENT,
    "evaluation_strategy": _DEVELOPMENT,
    "fp16": "write precision: float16",
    "generation_max_length": "the experiment has decoding: {max_new_tokens: N}",
    "generation_num_beams": "the experiment has decoding: {num_beams: N}",
    "group_by_length": "write train_sampling_strategy: group_by_length",
    "logging_steps": "the log has a line every few seconds",
    "metric_for_best_model": "write metric, and choose_on for the development sets that count",
    "output_dir": "models lie in results/EXPERIMENT/current/NODE",
    "per_device_eval_batch_size": "evaluation needs no key for its batches",
    "predict_with_generate": "an error rate as metric decodes, metric: loss doesn't",
    "push_to_hub": "afterwards: hf upload NAME results/EXPERIMENT/current/NODE",
    "report_to": "TensorBoard's files are always written; track: mlflow, wandb or trackio adds another tracker",
    "save_steps": "for resuming, checkpoints are written without a key; checkpoints: {every: N} keeps some for averages",
    "save_total_limit": "checkpoints: {every: N, last: N} keeps some for averages",
}


class TrainNode(Chosen, Node):
    """Training of a model; settings have the names of transformers' TrainingArguments, if it has them."""

    BY, TABLE = "optim", OPTIMIZERS
    ELSEWHERE = TRANSFORMERS

    train: Text = Field(description="the model to train; each of its runs")
    sweep: TrainSweep | None = Field(None, description="many settings of this node")
    data: Data | None = Field(
        None,
        description="training and development data instead of the experiment's; keys given here replace the experiment's",
    )
    augment: Augment | None = Field(None, description="instead of the experiment's, as a whole; {} switches it off")
    max_steps: Integer | None = Field(
        None, ge=1, le=10**9, description="how long, in optimizer steps; this or num_train_epochs is needed"
    )
    num_train_epochs: Number | None = Field(
        None, gt=0, le=10**6, description="how long, in passes over the training data; this or max_steps is needed"
    )
    per_device_train_batch_size: Integer | None = Field(
        None,
        ge=1,
        le=10**6,
        description="utterances or sentences in a batch; default: 16, unless batch_seconds or batch_tokens is given",
    )
    batch_seconds: Number | None = Field(
        None,
        gt=0,
        le=10**6,
        description="asr: fill each batch with utterances up to this many seconds of audio; a longer one is a batch of its own",
    )
    batch_tokens: Integer | None = Field(
        None,
        ge=1,
        le=10**9,
        description="nmt: fill each batch with pairs up to this many tokens of the longer side; a longer one is a batch of its own",
    )
    train_sampling_strategy: Literal["random", "group_by_length"] = Field(
        "random",
        description="random: any rows in a batch, split by length for the forward pass; group_by_length: rows of similar length; see Train",
    )
    gradient_accumulation_steps: Integer = Field(1, ge=1, le=10**6, description="batches per optimizer step")
    learning_rate: Number = Field(1e-4, gt=0, le=100, description="peak rate of the schedule")
    learning_rates: dict[Text, Annotated[Number, Field(gt=0, le=100)]] | None = Field(
        None,
        description="learning rates for parts: encoder, decoder, head, or a pattern of tensor names; the first match applies. A head tied to the embeddings has no rate of its own",
    )
    layerwise_lr_decay: Number | None = Field(
        None,
        gt=0,
        le=1,
        description="a layer's rate divided by that of the layer above it; tensors below the first layer of a side count as one more layer",
    )
    freeze: list[Text] | None = Field(
        None, description="parts that are not trained: encoder, decoder, head, or patterns of tensor names"
    )
    lora: Lora | None = Field(
        None, description="train low-rank adapters instead of the weights, and merge them when the model is saved"
    )
    lr_scheduler_type: Schedule = Field("cosine", description="the learning rate over the steps, as in transformers")
    lr_scheduler_kwargs: dict[str, Number] | None = Field(
        None,
        description="cosine: num_cycles; cosine_with_min_lr: min_lr_rate (0.1 of the rate) or min_lr; inverse_sqrt: timescale; warmup_stable_decay: num_decay_steps (a tenth of the run), num_stable_steps, min_lr_ratio",
    )
    warmup_steps: Integer = Field(
        0, ge=0, le=10**9, description="steps over which the rate rises from 0; not together with warmup_ratio"
    )
    warmup_ratio: Number = Field(
        0.0, ge=0, lt=1, description="warm-up as a fraction of all steps; not together with warmup_steps"
    )
    optim: Text = Field(
        "adamw_torch_fused",
        description="adamw_8bit keeps the state of matrices in a quarter of the memory, and needs the extra bitsandbytes; adafactor uses the schedule's rate, not its own; lion needs about a tenth of AdamW's rate and adam_beta2 0.99; muon trains matrices, with steps scaled to AdamW's, and AdamW trains embeddings and vectors",
    )
    weight_decay: Number = Field(0.0, ge=0, le=100, description="as in AdamW, decoupled from the gradient")
    adam_beta1: Number = Field(0.9, ge=0, lt=1, description="decay of the mean of gradients")
    adam_beta2: Number = Field(0.999, ge=0, lt=1, description="decay of the mean of squared gradients")
    max_grad_norm: Number = Field(1.0, ge=0, le=10**6, description="gradients are clipped to this norm")
    label_smoothing_factor: Number = Field(0.0, ge=0, lt=1, description="not for families with CTC")
    dropout: Dropout | dict[Text, Dropout] | None = Field(
        None,
        description="a rate for every dropout of the model, or {key of its config: rate}; default: the model's own",
    )
    encoder_layerdrop: Number = Field(
        0.0,
        ge=0,
        lt=1,
        description="fraction of encoder layers skipped at random in training (Fan et al. 2019, arXiv 1909.11556)",
    )
    decoder_layerdrop: Number = Field(0.0, ge=0, lt=1, description="the same for the decoder")
    layerdrop_by_depth: Literal["constant", "linear"] | None = Field(
        None, description="linear: layer l of L has l/L of the rate; default constant"
    )
    layerdrop_warmup_ratio: Number | None = Field(
        None, gt=0, le=1, description="fraction of the steps over which the rate rises from 0; default: no rise"
    )
    ctc_weight: Number | None = Field(
        None,
        gt=0,
        lt=1,
        description="encoder-decoder over audio: weight of a CTC loss on the encoder (hybrid). Its head is removed at the end",
    )
    intermediate_ctc: IntermediateCtc | None = Field(
        None,
        description="the CTC loss also at layers below the top, with the same head; encoder-decoders need ctc_weight",
    )
    precision: Precision = Field(
        "float32",
        description="of the forward pass; part of the model's identity. Weights are stored as float32. float16, for GPUs without bfloat16, scales the loss and skips steps that overflow",
    )
    gradient_checkpointing: bool = Field(
        False,
        description="keep only the inputs of the layers for the backward pass and compute the layers again there: far less memory for about a third more time, and the same result",
    )
    gpus: Integer | None = Field(
        None,
        ge=1,
        description="train on so many GPUs (of each node), with a process each; batches, steps and rates stay what they are. No part of the model's identity; default: 1",
    )
    nodes: Integer | None = Field(
        None, ge=1, description="train on so many nodes of a Slurm cluster; no part of the model's identity; default: 1"
    )
    shard_optimizer: bool = Field(
        False,
        description="with several gpus: each process holds the optimizer's state of its own share of the weights alone (ZeRO, stage 1); needs less memory and more time for each step, and gives the same weights. No part of the model's identity",
    )
    shard_weights: bool = Field(
        False,
        description="with several gpus: each process holds a part of the weights, their gradients and the optimizer's state (FSDP), and all bring a layer's together while it computes; for models that don't fit each GPU. No part of the model's identity",
    )
    keep: Literal["all", "best", "none"] | None = Field(
        None,
        description="whose weights stay once everything of the configuration is made: those of all runs, of NODE/best, or of none. Scores, curves and records stay in any case; no part of the model's identity; default: all",
    )
    torch_compile: bool | None = Field(
        None, description="compile the model first; worth it only for many steps and few shapes"
    )
    window: Literal["full", "short"] | None = Field(
        None,
        description="Whisper: always 30 s (full), or as long as each batch needs (short); default: as the parent was trained",
    )
    full_windows: Number | None = Field(
        None,
        ge=0,
        le=1,
        description="with short windows: fraction of batches with the full window, so that the model also works in other software; default: 0.05",
    )
    timestamps: Number | None = Field(
        None,
        ge=0,
        le=1,
        description="Whisper: fraction of examples whose labels have timestamps: where each joined row begins and ends, else the row; 0 trains without and measures both as any value does; default: none",
    )
    previous_text: Number | None = Field(
        None,
        ge=0,
        le=1,
        description="Whisper: fraction of examples that follow earlier text, as behind an initial prompt: what their document says before them, else another row of the speaker or corpus. It takes at most half of the decoder's positions, is cut from the left, and has no part in the loss; default: none",
    )
    max_loss: Number | None = Field(
        None,
        gt=0,
        le=10**6,
        description="a loss that is higher or not finite ends the run as diverged, with its last good checkpoint",
    )
    checkpoints: Checkpoints | None = Field(
        None,
        description="checkpoints kept in addition to the model, for averages within one run; each takes the disk space of a model",
    )
    save_minutes: Number | None = Field(
        None,
        gt=0,
        le=10**6,
        description="write a checkpoint to resume from at least this often, beside those after each tenth of the steps. No part of the model's identity; default: 10",
    )
    track: Literal["tensorboard", "mlflow", "wandb", "trackio"] | None = Field(
        None,
        description="also send the figures of the log to this tracker, which needs the extra of its name; TensorBoard's files are always written. No part of the model's identity",
    )
    seed: Integer = Field(1, description="combined with the replicate's seed")
    eval_steps: Integer = Field(
        0, ge=0, le=10**9, description="steps between evaluations on the development sets; 0: never"
    )
    early_stopping_patience: Integer | None = Field(
        None,
        ge=1,
        le=10**6,
        description="stop after this many evaluations without a gain; needs eval_steps; default: never",
    )
    load_best_model_at_end: bool = Field(
        False, description="keep the best evaluated step, not the last; needs eval_steps"
    )
    choose_on: dict[Name, Goal] | None = Field(
        None,
        description="development sets and goals for these evaluations and for NODE/best; default: all sets with equal weight",
    )
    metric: Text | None = Field(None, description="for choose_on; default: the experiment's")
    distil_from: Text | None = Field(
        None, description="the teacher; of a swept teacher, the run that the student's name begins with"
    )
    distil: Distil | None = Field(None, description="how the student learns from the teacher")

    def _check_shard_weights(self) -> None:
        if not self.shard_weights:
            return
        if (self.gpus or 1) * (self.nodes or 1) == 1:
            raise ValueError("shard_weights deals the weights out to several processes; it needs gpus or nodes")
        if self.shard_optimizer:
            raise ValueError("shard_weights deals the optimizer's state out too; leave shard_optimizer out")
        if not OPTIMIZERS[self.optim].elementwise:
            allowed = ", ".join(name for name, kind in OPTIMIZERS.items() if kind.elementwise)
            raise ValueError(
                f"optim: {self.optim} makes steps of whole matrices, which shard_weights cuts; allowed with it: {allowed}"
            )
        if self.lora:
            raise ValueError("lora and shard_weights don't work together here; leave one of them out")
        if self.checkpoints and (self.checkpoints.ema or self.checkpoints.mean):
            raise ValueError(
                "checkpoints.ema and checkpoints.mean need all weights at every step, which shard_weights has at few; keep "
                "the last or best ones, or leave shard_weights out"
            )

    @model_validator(mode="after")
    def _consistent(self) -> TrainNode:
        if (self.max_steps is None) == (self.num_train_epochs is None):
            raise ValueError("training has one of max_steps, num_train_epochs")
        given = [k for k in BATCHES if getattr(self, k) is not None]
        if len(given) > 1:
            raise ValueError(f"a batch is filled in one way; given: {', '.join(given)}")
        if self.checkpoints and self.checkpoints.best and not self.eval_steps:
            raise ValueError("checkpoints.best needs eval_steps: checkpoints are ranked on the development sets")
        if self.checkpoints and self.checkpoints.best and self.checkpoints.every % self.eval_steps:
            raise ValueError(
                f"checkpoints.every ({self.checkpoints.every}) must be a multiple of eval_steps ({self.eval_steps}): "
                "the best are among the evaluated"
            )
        if self.lora and self.checkpoints:
            raise ValueError("lora and checkpoints: adapters are merged at the end only; leave one of them out")
        if self.torch_compile and (self.encoder_layerdrop or self.decoder_layerdrop or self.intermediate_ctc):
            raise ValueError(
                "torch_compile would compile again for every set of layers; leave out layer drop and intermediate_ctc"
            )
        if self.torch_compile and (self.gpus or 1) * (self.nodes or 1) > 1:
            raise ValueError("torch_compile is for one GPU here; leave it out, or gpus and nodes")
        if self.shard_optimizer and (self.gpus or 1) * (self.nodes or 1) == 1:
            raise ValueError(
                "shard_optimizer deals the optimizer's state out to several processes; it needs gpus or nodes"
            )
        if self.shard_optimizer and not OPTIMIZERS[self.optim].shards:
            raise ValueError(
                f"optim: {self.optim} is two optimizers as one, which can't be dealt out; leave shard_optimizer out"
            )
        self._check_shard_weights()
        if self.torch_compile and self.gradient_checkpointing:
            raise ValueError("torch_compile and gradient_checkpointing don't work together here; leave one of them out")
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
            raise ValueError(f"lr_scheduler_kwargs: {self.lr_scheduler_type} has no settings")
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
            raise ValueError("torch_compile hides the hidden states that distil.hidden needs; leave one of them out")
        return self
