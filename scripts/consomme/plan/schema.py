"""The configuration: every key, its meaning, its default. config/schema.json is generated from this file.

Sections are validated one by one in `plan.load`, so that an error names the key's path; sweeps are expanded before a
node is validated, so that each run is checked like a node written out by hand.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SkipValidation, field_validator, model_validator

from consomme.plan.values import NAME, Integer, Number, Share, Text

Name = Annotated[str, Field(pattern=NAME)]


class Section(BaseModel):
    """A mapping whose keys are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# -- corpora -----------------------------------------------------------------------------------------------------------
class Bounds(Section):
    """A range of whole numbers, both ends included."""

    from_: Integer = Field(alias="from", description="smallest value kept")
    to: Integer = Field(description="largest value kept")


class Join(Section):
    """Single recordings of one speaker joined into longer utterances."""

    length: tuple[Integer, Integer] = Field(description="fewest and most recordings in one utterance")
    uses: Integer = Field(1, ge=1, description="how many utterances each recording stands in; 1 for test sets")
    gap: tuple[Number, Number] = Field((0.0, 0.1), description="shortest and longest silence between two, seconds")
    edge: tuple[Number, Number] = Field((0.0, 0.0), description="likewise before the first and after the last")
    seed: Integer = 1


class Corpus(Section):
    """What every corpus may say."""

    without: list[Name] = Field(
        default_factory=list,
        description="corpora whose rows must not recur here: same audio, recording, document, or normalised sentence",
    )
    where: dict[str, Bounds | list[Any]] = Field(
        default_factory=dict,
        description="keep rows by a column (or a field of the pattern): a list of values, or {from: 0, to: 9}",
    )
    missing: Literal["target", "source"] | None = Field(
        None, description="the side that it doesn't have, for a relabelled corpus: target (transcripts too) or source"
    )
    limit: Integer | None = Field(None, ge=1, description="at most this many rows, chosen by a hash of their ids")
    join: Join | None = Field(None, description="asr: join single recordings of one speaker")
    sampling_rate: Integer = Field(16000, ge=4000, description="Hz; audio is resampled to it")
    normaliser: Text = Field("verbatim", description="applied to the text: verbatim or basic")
    min_seconds: Number = Field(0.0, ge=0, description="asr: shorter utterances are left out")
    max_seconds: Number = Field(30.0, gt=0, description="asr: longer utterances are left out")
    min_characters: Integer = Field(1, ge=1, description="shorter texts are left out")
    max_characters: Integer | None = Field(None, ge=1, description="longer texts are left out")
    max_ratio: Number | None = Field(None, gt=1, description="nmt: longer over shorter side, in characters")
    max_skipped: Number = Field(0.01, ge=0, le=1, description="share of bad rows above which preparation fails")


class Manifest(Corpus):
    """A table of examples: TSV, CSV or JSONL."""

    source: Literal["manifest"]
    path: Text = Field(description="the table; audio paths in it are relative to its folder")
    columns: dict[Text, Text] = Field(default_factory=dict, description="our name: the table's column")


class Folder(Corpus):
    """A folder of recordings whose names say what they are."""

    source: Literal["folder"]
    path: Text
    pattern: Text = Field(description='such as "{text}_{speaker}_{index}.wav"; without {text}, X.txt lies beside X.wav')
    texts: dict[str, Text] = Field(default_factory=dict, description="the text field's value: what is spoken")

    @field_validator("texts", mode="before")
    @classmethod
    def _keys_are_text(cls, value: Any) -> Any:
        return {str(k): v for k, v in value.items()} if isinstance(value, dict) else value


class CommonVoice(Corpus):
    """The unpacked folder of one language of Common Voice: clips/ and its tables."""

    source: Literal["common_voice"]
    path: Text
    split: Literal["train", "dev", "test", "validated", "other"] = "train"


class Parallel(Corpus):
    """Two aligned text files PATH.LANGUAGE (or .gz), or one TSV file of two columns."""

    source: Literal["parallel"]
    path: Text


class Hub(Corpus):
    """A data set that datasets.load_dataset can load: a name on the hub, or a local folder of Parquet files."""

    source: Literal["hub"]
    name: Text
    config: Text | None = None
    split: Text = "train"
    revision: Text | None = None
    columns: dict[Text, Text] = Field(default_factory=dict, description="our name: the data set's column")


class Generated(Corpus):
    """Made on the spot, row by row from the seed."""

    source: Literal["generated"]
    generator: Literal["spoken-numbers", "dosage"]
    domain: Text = Field(description="spoken-numbers: clean or shifted; dosage: general or medical")
    split: Text = Field("train", description="a name; sentences differ between train, dev and test")
    size: Integer = Field(ge=1, description="rows")
    seed: Integer = 1


# -- settings shared by nodes ------------------------------------------------------------------------------------------
class Data(Section):
    """Which corpora a graph or a node uses."""

    train: dict[Text, Number] | None = Field(
        None, description="corpus: weight (an epoch draws weight times its rows); a list gives weight 1"
    )
    dev: dict[Name, list[Text]] | None = Field(None, description="development set: its corpus, or list of corpora")
    test: dict[Name, list[Text]] | None = Field(None, description="test set: likewise; tests only report")
    share: Number = Field(1.0, gt=0, le=1, description="share of the training rows that is used; nested subsets")

    @field_validator("train", mode="before")
    @classmethod
    def _weights(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [value]
        return dict.fromkeys(value, 1.0) if isinstance(value, list) else value

    @field_validator("train")
    @classmethod
    def _positive(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        for corpus, weight in (value or {}).items():
            if not weight > 0:
                raise ValueError(f"the weight of {corpus} is {weight:g}; a weight is larger than 0")
        return value

    @field_validator("dev", "test", mode="before")
    @classmethod
    def _sets(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [value]
        if isinstance(value, list):
            value = {name: name for name in value}
        if isinstance(value, dict):
            value = {k: [v] if isinstance(v, str) else v for k, v in value.items()}
        return value


# Park et al. 2019, table 1: W, F, m_F, T, p, m_T
_POLICY = ("time_warp", "frequency_width", "frequency_masks", "time_frames", "time_width", "time_masks")
POLICIES: dict[str, dict[str, Any]] = {
    "LB": dict(zip(_POLICY, (80, 27, 1, 100, 1.0, 1), strict=True)),
    "LD": dict(zip(_POLICY, (80, 27, 2, 100, 1.0, 2), strict=True)),
    "SM": dict(zip(_POLICY, (40, 15, 2, 70, 0.2, 2), strict=True)),
    "SS": dict(zip(_POLICY, (40, 27, 2, 70, 0.2, 2), strict=True)),
}


class SpecAugment(Section):
    """A time warp and masks on the log-mel frames (Park et al. 2019, arXiv 1904.08779), or time masks on a waveform."""

    # no part of the identity: what it stands for is filled in
    policy: Literal["LB", "LD", "SM", "SS"] | None = Field(
        None, exclude=True, description="of the paper: LibriSpeech basic, double, Switchboard mild, strong"
    )
    time_masks: Integer = Field(2, ge=0)
    time_masks_per_frame: Number | None = Field(
        None, gt=0, description="their number grows with the utterance (arXiv 1912.05533), up to time_masks"
    )
    time_width: Number = Field(0.05, ge=0, le=1, description="widest mask, as a share of the frames")
    time_frames: Integer | None = Field(None, ge=0, description="widest mask, in frames of 10 ms")
    frequency_masks: Integer | None = Field(None, ge=0, description="2 where the model reads mel bins")
    frequency_width: Integer = Field(15, ge=0, description="widest mask, in mel bins")
    time_warp: Integer | None = Field(None, ge=0, description="frames that a point moves by at most")

    @model_validator(mode="before")
    @classmethod
    def _of_policy(cls, value: Any) -> Any:
        policy = value.get("policy") if isinstance(value, dict) else None
        return {**POLICIES[policy], **value} if isinstance(policy, str) and policy in POLICIES else value


class Noise(Section):
    """Noise added to the waveform."""

    folder: Text | None = Field(None, description="recordings of noise; without it white and pink noise is made")
    snr: tuple[Number, Number] = Field((5.0, 20.0), description="lowest and highest signal-to-noise ratio, dB")
    probability: Number = Field(0.5, ge=0, le=1)

    @field_validator("snr")
    @classmethod
    def _in_order(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError("the lowest ratio comes first")
        return value


class Reverb(Section):
    """Rooms: convolution with impulse responses."""

    folder: Text | None = Field(None, description="recorded responses; without it rooms are made on the spot")
    rt60: tuple[Number, Number] = Field(
        (0.1, 0.6), description="made on the spot: shortest and longest time to fall by 60 dB, seconds"
    )
    probability: Number = Field(0.5, ge=0, le=1)

    @field_validator("rt60")
    @classmethod
    def _in_order(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1]:
            raise ValueError("both are above 0, and the shortest comes first")
        return value


class Concatenate(Section):
    """Examples joined with others of their corpus, of the same speaker where speakers are named."""

    utterances: Integer = Field(2, ge=2, description="at most so many in one")
    seconds: Number = Field(30.0, gt=0, description="asr: at most so long")
    probability: Number = Field(0.5, ge=0, le=1)


class SubwordSampling(Section):
    """Sentences cut into other pieces each time."""

    sides: list[Literal["source", "target"]] = Field(["source", "target"], min_length=1)
    alpha: Number = Field(0.2, gt=0, description="unigram: smoothing, 0.1 varies more (Kudo 2018, arXiv 1804.10959)")
    dropout: Number = Field(0.1, ge=0, le=1, description="bpe: probability that a merge is left out (arXiv 1910.13267)")

    @field_validator("sides", mode="before")
    @classmethod
    def _one_side(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class Augment(Section):
    """Augmentation on the fly, the same for (seed, epoch, utterance) whatever the number of workers."""

    concatenate: Concatenate | None = None
    spec_augment: SpecAugment | None = None
    speed: list[Number] | None = Field(None, description="factors to choose from, such as [0.9, 1.0, 1.1]")
    pitch: list[Integer] | None = Field(None, description="semitones to choose from, such as [-2, -1, 0, 1, 2]")
    gain: list[Number] | None = Field(None, description="loudness: [low, high] in dB")
    reverb: Reverb | None = None
    noise: Noise | None = None
    word_dropout: Number | None = Field(None, ge=0, lt=1, description="nmt: probability that a source word is left out")
    subwords: SubwordSampling | None = None

    @field_validator("concatenate", "spec_augment", "reverb", "noise", "subwords", mode="before")
    @classmethod
    def _true_means_defaults(cls, value: Any) -> Any:
        return {} if value is True else None if value is False else value

    @field_validator("spec_augment", mode="before")
    @classmethod
    def _a_policy(cls, value: Any) -> Any:
        return {"policy": value} if isinstance(value, str) else value

    @field_validator("speed")
    @classmethod
    def _plausible(cls, value: list[float] | None) -> list[float] | None:
        if value is not None and (not value or not all(0.5 <= v <= 2 for v in value)):
            raise ValueError("speed factors lie between 0.5 and 2")
        return value

    @field_validator("pitch")
    @classmethod
    def _semitones(cls, value: list[int] | None) -> list[int] | None:
        if value is not None and (not value or not all(-12 <= v <= 12 for v in value)):
            raise ValueError("pitch is shifted by semitones between -12 and 12")
        return value

    @field_validator("gain")
    @classmethod
    def _range(cls, value: list[float] | None) -> list[float] | None:
        if value is not None and (len(value) != 2 or value[0] > value[1]):
            raise ValueError("gain is [low, high] in dB, such as [-6, 6]")
        return value


class Constraint(Section):
    """A development set that may not get much worse."""

    lose_at_most: Number = Field(ge=0, description="points of the metric, absolute; held by a one-sided 95 % bound")
    of: Text = Field(description="the model to compare with")
    metric: Text | None = Field(None, description="default: the experiment's metric")


Weight = Annotated[Number, Field(gt=0)]
Goal = Literal["best"] | Weight | Constraint


class Decoding(Section):
    """How hypotheses are made; names of transformers' GenerationConfig."""

    num_beams: Integer = Field(1, ge=1)
    max_new_tokens: Integer = Field(128, ge=1)
    length_penalty: Number = 1.0
    window: Literal["full", "short"] | None = Field(
        None, description="Whisper: 30 s whatever is said, or as long as needed; default: as the model was trained"
    )


# -- corpora that a model makes ----------------------------------------------------------------------------------------
class Keep(Section):
    """Which relabelled rows stay; all that is given must hold."""

    confidence: Number | None = Field(
        None, gt=0, le=1, description="at least: the probability per token that the model gave its own text"
    )
    share: Number | None = Field(None, gt=0, le=1, description="of the rows that pass all else, the most confident")
    wer: Number | None = Field(None, ge=0, description="asr: at most, of each row against its transcript, points")
    cer: Number | None = Field(None, ge=0, description="likewise of characters")
    chrf: Number | None = Field(None, ge=0, le=100, description="nmt: at least, of each row against its reference")


class Relabelled(Section):
    """Another corpus, one side of which a model writes anew: pseudo-labels, distillation, back-translation."""

    source: Literal["relabelled"]
    corpus: Name = Field(description="the corpus that is relabelled")
    by: list[Text] = Field(
        min_length=1,
        description="NODE, NODE/best, NODE/RUN of the experiment that trains on this, or EXPERIMENT/NODE[/RUN]; several "
        "models are an ensemble",
    )
    side: Literal["target", "source"] = Field(
        "target",
        description="what the model writes: target (transcripts; translations), or nmt: source (back-translation)",
    )
    tag: Text | None = Field(None, pattern=r"^\S+$", description="nmt: a word put before each source, such as <BT>")
    decoding: Decoding | None = Field(None, description="keys laid over the decoding of the models' experiment")
    keep: Keep = Field(default_factory=Keep)
    normaliser: Text | None = Field(None, description="applied to the made text; default: that of `corpus`")
    min_characters: Integer = Field(1, ge=1, description="shorter made texts are left out")
    max_characters: Integer | None = Field(None, ge=1, description="longer made texts are left out")
    max_ratio: Number | None = Field(None, gt=1, description="nmt: longer over shorter side, in characters")

    @field_validator("by", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


CORPORA: dict[str, type[Corpus | Relabelled]] = {
    "manifest": Manifest,
    "folder": Folder,
    "common_voice": CommonVoice,
    "parallel": Parallel,
    "hub": Hub,
    "generated": Generated,
    "relabelled": Relabelled,
}


# -- sweeps ------------------------------------------------------------------------------------------------------------
class Sweep(Section):
    """Many settings of one node, each a run. Keys are dotted paths within the node."""

    grid: dict[str, list[Any]] | None = Field(None, description="every combination of the values")
    points: list[dict[str, Any]] | None = Field(None, description="the runs, written out")
    random: dict[str, Any] | None = Field(
        None,
        description="n runs drawn with seed; each key a list to choose from, {uniform: [a, b]} or {log_uniform: [a, b]}",
    )

    @model_validator(mode="after")
    def _one(self) -> Sweep:
        if sum(v is not None for v in (self.grid, self.points, self.random)) != 1:
            raise ValueError("a sweep has one of grid, points, random")
        return self


class Node(Section):
    """What every node may say."""

    sweep: Sweep | None = Field(None, description="many settings of this node")


# -- from --------------------------------------------------------------------------------------------------------------
class HubModel(Section):
    """A checkpoint of the Hugging Face hub."""

    name: Text
    revision: Text | None = Field(None, description="a commit, for a result that can be repeated")


class Start(Section):
    """Where a graph starts: one of hub, folder, folders, scratch."""

    hub: HubModel | None = Field(None, description="NAME, or with `revision` beside it")
    folder: Text | None = Field(None, description="a checkpoint folder")
    folders: list[Text] | None = Field(None, description="checkpoint folders or patterns; each is a run")
    scratch: dict[str, Any] | None = Field(None, description="family, and its architecture in its config's names")
    tokenizer: dict[str, Any] = Field(
        default_factory=dict,
        description="of a scratch model, by family; or a new one, with a new CTC head, for a checkpoint: its type",
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("hub"), str):
            value = dict(value)
            value["hub"] = {"name": value["hub"]} | ({"revision": value.pop("revision")} if "revision" in value else {})
        return value

    @model_validator(mode="after")
    def _one(self) -> Start:
        if sum(v is not None for v in (self.hub, self.folder, self.folders, self.scratch)) != 1:
            raise ValueError("a starting point has one of hub, folder, folders, scratch")
        return self


class FromNode(Node):
    """A starting point."""

    from_: Start = Field(alias="from")
    data: Data | None = Field(None, description="whose texts a tokenizer is made of, where one is made")


# -- train -------------------------------------------------------------------------------------------------------------
class Distil(Section):
    """Distillation from a teacher's logits (Hinton et al. 2015, arXiv 1503.02531)."""

    weight: Number = Field(0.5, ge=0, le=1, description="of the teacher's loss; the rest is the task's")
    temperature: Number = Field(2.0, gt=0)


class IntermediateCtc(Section):
    """The CTC loss also at layers below the top (Lee and Watanabe 2021, arXiv 2102.03216)."""

    layers: list[Integer] | None = Field(None, description="these, from 1")
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
    batch_seconds: Number | None = Field(None, gt=0, description="asr: of audio in a batch, padding included")
    batch_tokens: Integer | None = Field(
        None, ge=1, description="nmt: in a batch, padding included, of the longer side of each pair"
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
        if self.momentum is not None and self.optim not in ("sgd", "muon"):
            raise ValueError(f"momentum belongs to sgd and muon, and optim is {self.optim}")
        if self.warmup_steps and self.warmup_ratio:
            raise ValueError("training has one of warmup_steps, warmup_ratio")
        if not self.eval_steps and (self.early_stopping_patience or self.load_best_model_at_end):
            raise ValueError("early_stopping_patience and load_best_model_at_end need eval_steps")
        if self.distil and not self.distil_from:
            raise ValueError("distil needs distil_from: the teacher's name")
        return self


# -- average, prune, export --------------------------------------------------------------------------------------------
class AverageNode(Node):
    """Weights averaged over models of one ancestor."""

    average: list[Text] = Field(description="a node (all its runs), or a list of models")
    where: dict[str, Any] = Field(default_factory=dict, description="which runs: swept key: value, or list of values")
    by: list[Text] = Field(default_factory=list, description="one result for each value of these swept keys")
    method: Text = Field(
        "uniform",
        description="uniform, weighted, greedy, learned, interpolate, fisher, regmean, slerp, task_arithmetic, ties, dare_linear, "
        "dare_ties, model_stock; of one run's checkpoints: last, best, ema, window; ensemble",
    )
    alpha: Number | None = Field(None, ge=0, le=1, description="interpolate, slerp: 0 is the first model, 1 the second")
    points: Integer = Field(11, ge=2, description="interpolate: how many alphas are tried where none is given")
    weights: list[Number] | dict[str, list[Number]] | None = Field(
        None, description="one for each model; weighted: also {encoder, decoder or name pattern: list}"
    )
    base: Text | None = Field(None, description="the model that all were tuned from; default: their one parent")
    scale: Number | None = Field(None, description="of the merged differences from the base; default 1")
    density: Number | None = Field(
        None, gt=0, le=1, description="the share of each difference from the base that stays"
    )
    rank_by: Text | None = Field(None, description="greedy: the metric of the order; default: that of the choice")
    replacement: bool | None = Field(None, description="greedy: each step takes the model that helps most, again too")
    at_most: Integer | None = Field(None, ge=1, description="greedy: so many ingredients at most")
    count: Integer | None = Field(
        None, ge=1, description="last, best: so many checkpoints; default: all that were kept"
    )
    from_step: Integer | None = Field(
        None, ge=0, description="window: the mean over the steps after this one; default 0"
    )
    to_step: Integer | None = Field(None, ge=1, description="window: to this one; default: the last")
    groups: Text | None = Field(None, description="learned: model (one weight for each), or layer; default model")
    steps: Integer | None = Field(None, ge=1, description="learned: of Adam on 16 development rows each; default 60")
    learning_rate: Number | None = Field(None, gt=0, description="learned: of Adam on the logits; default 0.1")
    examples: Integer | None = Field(
        None, ge=1, description="fisher, regmean: development rows to measure on; default 128"
    )
    choose_on: dict[Name, Goal] | None = Field(None, description="development sets that choose")
    metric: Text | None = Field(None, description="for choose_on; default: the experiment's")

    @field_validator("average", "by", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class Layers(Section):
    """Which layers of one side go, or stay; counted from 1."""

    keep: list[Integer] | None = None
    drop: Share | None = Field(None, description="a fraction such as 1/3, or a list such as [2, 5, 8]")
    by: Text | None = Field(
        None,
        description="for a fraction: uniform, spaced, truncate, random, greedy, random_search, leave_one_out, similarity, angular",
    )

    @model_validator(mode="after")
    def _one(self) -> Layers:
        if (self.keep is None) == (self.drop is None):
            raise ValueError("layers have one of keep, drop")
        if isinstance(self.drop, str) and self.by is None:
            raise ValueError("a fraction to drop needs `by`: uniform, greedy or another way to choose")
        if not isinstance(self.drop, str) and self.by is not None:
            raise ValueError("`by` goes with a fraction; here the layers are listed already")
        return self


class Sides(Section):
    """Layers by side."""

    encoder: Layers | None = None
    decoder: Layers | None = None


class Heads(Section):
    """Attention heads to remove."""

    drop: Share = Field(description="a fraction of all heads")
    by: Text = Field("taylor", description="taylor, leave_one_out, magnitude, random")
    per: Text = Field("model", description="model: the lowest of all heads go; layer: the same share of each module's")

    @field_validator("drop")
    @classmethod
    def _fraction(cls, value: str | list[int]) -> str:
        if not isinstance(value, str):
            raise ValueError("heads are dropped by a fraction, such as 1/4")
        return value


class PruneNode(Node):
    """A smaller model."""

    prune: Text
    layers: Sides | None = None
    heads: Heads | None = None
    choose_on: dict[Name, Goal] | None = Field(None, description="development sets that a search looks at")
    metric: Text = Field("loss", description="what a search looks at")

    @model_validator(mode="after")
    def _something(self) -> PruneNode:
        if self.heads is None and (
            self.layers is None or (self.layers.encoder is None and self.layers.decoder is None)
        ):
            raise ValueError("nothing to prune: give layers, heads or both")
        return self


class ExportNode(Node):
    """A model for use elsewhere; only ends."""

    export: Text
    format: Text = Field("safetensors", description="safetensors or ctranslate2")
    quantization: Literal["int8", "int8_float32", "int16", "float16", "bfloat16"] | None = None


VERBS: dict[str, type[Node]] = {
    "from": FromNode,
    "train": TrainNode,
    "average": AverageNode,
    "prune": PruneNode,
    "export": ExportNode,
}


# -- the whole ---------------------------------------------------------------------------------------------------------
class Claim(Section):
    """A comparison declared before looking."""

    model: Text
    beats: Text | None = Field(None, description="the model that should be worse")
    keeps: Text | None = Field(None, description="the model whose quality should be kept")
    on: Text = Field(description="a test set")
    metric: Text | None = Field(None, description="default: the experiment's")
    margin: Number | None = Field(None, ge=0, description="for keeps: points that may be lost")

    @model_validator(mode="after")
    def _one(self) -> Claim:
        if (self.beats is None) == (self.keeps is None):
            raise ValueError("a claim has one of beats, keeps")
        if (self.margin is None) != (self.keeps is None):
            raise ValueError("a claim with keeps, and only that, has a margin")
        return self


class Experiment(Section):
    """One task, its corpora, a graph of models, its claims."""

    task: Literal["asr", "nmt"]
    languages: list[Text] = Field(min_length=1, max_length=2, description="asr: [spoken]; nmt: [source, target]")
    metric: Text | None = Field(None, description="default: wer for asr, bleu for nmt")
    metrics: list[Text] | None = Field(None, description="all that is reported; default: wer, cer or bleu, chrf")
    normaliser: Text | None = Field(
        None, description="before errors are counted; default: basic for asr, verbatim for nmt"
    )
    repeat: list[Integer] | dict[Integer, dict[Name, Text]] = Field(
        default_factory=lambda: [1],
        description="replicates: seeds, or seed: {variable: value}; {variable} in a corpus name of `data` is filled in",
    )
    data: Data
    augment: Augment | None = None
    decoding: Decoding = Field(default_factory=Decoding)
    models: Annotated[
        dict[Name, SkipValidation[FromNode | TrainNode | AverageNode | PruneNode | ExportNode]], Field(min_length=1)
    ]
    claims: list[Claim] = Field(default_factory=list)

    @model_validator(mode="after")
    def _two_languages(self) -> Experiment:
        if len(self.languages) != (2 if self.task == "nmt" else 1):
            wanted = "two languages, such as [en, fr]" if self.task == "nmt" else "one language, such as [en]"
            raise ValueError(f"languages: {self.task} needs {wanted}")
        return self


class Configuration(Section):
    """A whole configuration."""

    data_root: Text = Field(
        ".", description="what relative paths of corpora start from; relative to the working directory"
    )
    corpora: dict[Name, SkipValidation[Manifest | Folder | CommonVoice | Parallel | Hub | Generated | Relabelled]] = (
        Field(default_factory=dict)
    )
    experiments: dict[Name, SkipValidation[Experiment]] = Field(min_length=1)
