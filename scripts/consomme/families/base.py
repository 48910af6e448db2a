"""What a family is: all that the rest of the code may know of an architecture.

This module and the families' records import no torch: the plan reads them too. What needs torch imports it inside the
function that uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from consomme.common.errors import ConsommeError, Unusable
from consomme.common.settings import Section, defaults

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedModel


TOO_SHORT = "too short for the model"  # why an example is unusable
BEYOND_WINDOW = "audio longer than the model's window"  # why one can be decoded at most
BEYOND_POSITIONS = "audio longer than the model's positions"


@dataclass(frozen=True)
class Attention:
    """An attention module inside a layer: its attribute path and its projections' names."""

    path: str
    query: str = "q_proj"
    key: str = "k_proj"
    value: str = "v_proj"
    out: str = "out_proj"
    heads: str = "num_heads"  # dotted path below the module to the number of its heads


@dataclass(frozen=True)
class FeedForward:
    """A feed-forward sublayer inside a layer: its attribute path ("" where its projections are the layer's own), the
    projections into its neurons, of which a config may have only some, and the one out of them.

    A projection into twice as many outputs as there are neurons holds two halves, as gated ones do."""

    path: str
    up: Sequence[str]
    down: str


@dataclass(frozen=True)
class Stack:
    """The layers of one side (encoder or decoder).

    layers: path of the ModuleList in the model; count, heads, layerdrop: keys of the config, dotted where they lie in
    a part of it, layerdrop None where the architecture drops no layers by itself; attentions: "self" and, in a decoder,
    "cross"; anchored: the first layer holds what the others need (the table of relative positions), so it can't be left
    out while training; width: the config's key of the number of neurons of each feed-forward sublayer, which another side
    may share; feed_forwards: the sublayers that have that width; outside: likewise for those outside of the layers, by paths
    from the model in which * is any name; sublayers: in the order of computation, the dotted path below a layer to the
    last projection, with whose weight and bias zero the sublayer adds nothing to the states that run past it."""

    layers: str
    count: str
    heads: str
    layerdrop: str | None
    attentions: Mapping[str, Attention]
    anchored: bool = False
    width: str | None = None
    feed_forwards: Mapping[str, FeedForward] = field(default_factory=dict)
    outside: Mapping[str, FeedForward] = field(default_factory=dict)
    sublayers: Mapping[str, str] = field(default_factory=dict)


def value_of(config: Any, key: str) -> Any:
    """The value under a dotted key of a config (an object or what config.json holds), None where there is none."""
    for name in key.split("."):
        config = config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)
    return config


def set_value(config: Any, key: str, value: Any) -> None:
    """Set the value under a dotted key of a config (an object or what config.json holds)."""
    path, _, name = key.rpartition(".")
    part = value_of(config, path) if path else config
    if isinstance(part, dict):
        part[name] = value
    else:
        setattr(part, name, value)


def _bart(side: str, attentions: Mapping[str, Attention]) -> Stack:
    return Stack(
        layers=f"model.{side}.layers",
        count=f"{side}_layers",
        heads=f"{side}_attention_heads",
        layerdrop=f"{side}_layerdrop",
        attentions=attentions,
        width=f"{side}_ffn_dim",
        feed_forwards={"feed_forward": FeedForward("", ("fc1",), "fc2")},
        sublayers={kind: f"{a.path}.{a.out}" for kind, a in attentions.items()} | {"feed_forward": "fc2"},
    )


# the names that transformers gives to the layers of BART and its descendants: Marian, Whisper and others
BART_STACKS: Mapping[str, Stack] = {
    "encoder": _bart("encoder", {"self": Attention("self_attn")}),
    "decoder": _bart("decoder", {"self": Attention("self_attn"), "cross": Attention("encoder_attn")}),
}


def enough(samples: int, fewest: int) -> None:
    """Unusable where a waveform has fewer samples than its model needs."""
    if samples < fewest:
        raise Unusable(TOO_SHORT, f"{samples} samples, at least {fewest} are needed")


class Segment(NamedTuple):
    """A part of a hypothesis with its times, in seconds from the beginning of the audio. end: None where the model wrote
    none."""

    start: float
    end: float | None
    text: str


class Hypothesis(NamedTuple):
    """What a model says to one example. cut: it had no end token when it reached the most tokens that were allowed;
    segments: in which it says it, where it was asked for timestamps; words: where it was asked for them, those of each
    segment, or of the whole where it has no segments."""

    text: str
    cut: bool = False
    segments: Sequence[Segment] = ()
    words: Sequence[Sequence[Segment]] = ()


@dataclass(frozen=True)
class Subwords:
    """A tokenizer's pieces.

    kind: unigram or bpe; scores: piece -> its log probability (unigram), or the higher the earlier it is merged (bpe);
    spell: a text in the row's languages -> (tokens that stand before it, the text as the pieces spell it); ids: those tokens
    and the pieces, and the languages -> token ids with the special tokens. Unusable if they are more than the model has
    positions for."""

    kind: str
    scores: Mapping[str, float]
    spell: Callable[[str, Sequence[str]], tuple[list[str], str]]
    ids: Callable[[Sequence[str], Sequence[str]], list[int]]


@dataclass(frozen=True)
class Family:
    """One architecture. Sides are "encoder" and "decoder"; layers count from 0 here, from 1 in configurations.

    A subclass overrides the methods that differ."""

    name: str  # the word in configurations
    task: str  # asr or nmt
    objective: str  # ctc, seq2seq or transducer
    model_type: str  # config.json's
    architecture: str  # class name in transformers
    config: str  # class name of its config in transformers
    stacks: Mapping[str, Stack]  # by side
    # settings of a model from scratch, named as in its config, and of a tokenizer made of the training texts
    scratch: type[Section] | None = None  # None: none is made from scratch
    tokenizer: type[Section] | None = None  # None: it keeps the tokenizer that it was trained with
    dropouts: Sequence[str] = ()  # the config's keys that the one `dropout` setting of training sets
    exports: Sequence[str] = ("safetensors",)  # formats that `export` can write
    # ends of names of weights that a checkpoint may lack (they are zero then), or may have beyond the model's own
    optional: Sequence[str] = ()
    masks_input: bool = False  # it masks its own input in training unless its config forbids it
    head_hooks: bool = True  # a hook before the output projection sees the heads; scores by data need that
    languages: bool = False  # features depend on the languages
    told: bool = False  # it is told the languages of each row, so that one model can serve several
    batch_norm: bool = False  # it may have running statistics, which are estimated anew for an average
    windows: bool = False  # `collate` takes `frames`: a model with a fixed window may get a shorter one
    waveform: bool = False  # features are the waveform itself
    timed: bool = False  # transcripts may have timestamps and follow earlier text: `timed_labels`, `earlier`
    word_times: bool = False  # `decode` can tell when each word is said
    trimmed: bool = False  # its vocabulary can be trimmed: a decoder of text with a tokenizer of subwords
    published: Sequence[str] = ()  # words in the names of published checkpoints, to tell the family before a download
    adapted: Sequence[str] = ()  # likewise of those whose weights depend on the language (`by_language`)

    @property
    def tokenizer_kind(self) -> str:
        """The kind of tokenizer that it makes of training texts; empty if it makes none."""
        return str(defaults(self.tokenizer).get("type", ""))

    # -- on disk ---------------------------------------------------------------------------------------------------
    def create(
        self,
        out: Path,
        settings: Mapping[str, Any],
        tokenizer: Mapping[str, Any],
        texts: Callable[[], Iterator[str]],
        languages: Sequence[str],
        seed: int,
    ) -> None:
        """Write a complete checkpoint (weights, config, processor files) with random weights to the folder `out`.

        `texts()` yields the training texts (both sides of a sentence pair, one after the other)."""
        raise NotImplementedError

    def new_head(
        self, source: Path, out: Path, tokenizer: Mapping[str, Any], texts: Callable[[], Iterator[str]], seed: int
    ) -> None:
        """Write the checkpoint in `source` to the folder `out` with a tokenizer made of the training texts and an
        output layer of random weights for it. `source` may lack both; the other weights stay as they are."""
        raise ConsommeError(
            f"from.tokenizer: '{self.name}' keeps the tokenizer that it was trained with; a new one, with a new head, "
            "is for CTC models"
        )

    def processor(self, path: Path, languages: Sequence[str] = ()) -> Any:
        """The processor (or tokenizer) of a checkpoint, from its own files. Where rows have no languages of their own, it
        is for these, else for those that its files name."""
        raise NotImplementedError

    # -- as published ----------------------------------------------------------------------------------------------
    def by_language(self, source: Path) -> bool:
        """Whether the weights of the checkpoint in the folder `source` depend on the language that it is used for."""
        return False

    def beside(self, source: Path, languages: Sequence[str]) -> list[str]:
        """The names of the files of a checkpoint that these languages need beside weights, configs and tokenizer.
        ConsommeError if the checkpoint has none for them."""
        return []

    def settle(self, source: Path, folder: Path, languages: Sequence[str]) -> str:
        """Fill in what the checkpoint in `source` leaves open, in the files of its copy in `folder`. Returns what was
        done, for the log; empty if nothing. ConsommeError if something is lost that can't be known."""
        return ""

    def some_languages(self, source: Path) -> list[str]:
        """Languages that the checkpoint in the folder `source` can be tried with: one for asr, a pair for nmt."""
        return ["en"] if self.task == "asr" else ["en", "fr"]

    def misfit(self, config: Any, processor: Any) -> str | None:
        """Why a model with this config can't use this processor, or None if it can."""
        from consomme.families.vocabulary import beyond

        sizes = (value_of(config, key) for key in ("vocab_size", "decoder.vocab_size", "text_config.vocab_size"))
        size = next((size for size in sizes if size), None)
        return beyond(getattr(processor, "tokenizer", processor), size) if size else None

    # -- languages -------------------------------------------------------------------------------------------------
    def known_languages(self, folder: Path) -> Collection[str] | None:
        """The codes of the languages that the checkpoint in `folder` can be told; None if its files don't say so, or if it
        is told none. Quick: the plan asks."""
        return None

    def name_languages(self, folder: Path, languages: Collection[Sequence[str]]) -> None:
        """Write into the files of the checkpoint in `folder` what programs that decode with its own defaults need to know
        of the languages that it was trained on: the one, or that there are several (none given: unknown ones)."""

    # -- examples --------------------------------------------------------------------------------------------------
    def features(self, processor: Any, source: np.ndarray | str, languages: Sequence[str] = ()) -> np.ndarray:
        """The model's input for one example, unpadded.

        asr: a float32 waveform [samples] in -1..1 at the processor's rate -> float32 frames [time, bins], or [samples]
        for a model whose input is the waveform.
        nmt: a sentence -> int64 token ids [tokens].
        languages: the row's, which count where `languages` of the family; default: the processor's.
        Unusable if the model can't take this one: too short, longer than its window or its positions, or in a language
        that it has no code for."""
        raise NotImplementedError

    def whole(self, processor: Any, source: np.ndarray | str, languages: Sequence[str] = ()) -> np.ndarray:
        """As `features`, also of audio that is `long`."""
        return self.features(processor, source, languages)

    def length(self, processor: Any, samples: int) -> int | None:
        """asr: how long `whole` is for a waveform of so many samples, at least one; None where only its content tells.
        Unusable where `whole` is."""
        return None

    def long(self, processor: Any, length: int) -> bool:
        """Whether features of this length are more than the model's window. Such audio is decoded in several windows, one
        after the other, in batches of its kind; it has no loss, and nothing is trained on it."""
        return False

    def labels(self, processor: Any, text: str, languages: Sequence[str]) -> list[int]:
        """Token ids of the wanted output in the row's languages, with whatever special tokens the loss needs. Unusable if
        the decoder has no positions for so many, or no token stands for a language that the model must be told."""
        raise NotImplementedError

    def timed_labels(
        self, processor: Any, segments: Sequence[tuple[float, float, str]], languages: Sequence[str]
    ) -> list[int]:
        """Where `timed`: as `labels`, of segments (start, end, text), in seconds from the beginning of the audio and in
        their order, with timestamp tokens around each. ConsommeError if the model has no such tokens."""
        raise NotImplementedError(f"{self.name} has no timestamps")

    def earlier(self, processor: Any, text: str, room: int) -> tuple[list[int], bool]:
        """Where `timed`: the token ids that stand before the start token, for what was said before the audio, and whether
        it was cut: at most `room` of them, and at most half of the decoder's positions; the text's end stays. Empty for
        no text, or where there is no room."""
        raise NotImplementedError(f"{self.name} takes no earlier text")

    def opening(self, processor: Any, earlier: Sequence[int], languages: Sequence[str]) -> list[int]:
        """Where `timed`: what the decoder is given before a transcript, after the tokens of `earlier`: a batch without
        labels may have it as its `decoder_input_ids`, of the same length for all of its rows."""
        raise NotImplementedError(f"{self.name} takes no earlier text")

    def subwords(self, processor: Any, side: str) -> Subwords | None:
        """For nmt: the tokenizer's pieces for "source" or "target" as a table, so that others can be drawn; None where
        the family can't say."""
        return None

    def collate(
        self, processor: Any, features: Sequence[np.ndarray], labels: Sequence[Sequence[int]] | None
    ) -> dict[str, Tensor]:
        """Pad a batch into the keyword arguments of the model's forward (labels padded with -100, absent if None)."""
        raise NotImplementedError

    def generate(
        self,
        model: PreTrainedModel,
        processor: Any,
        batch: Mapping[str, Tensor],
        languages: Sequence[str],
        decoding: Mapping[str, Any],
    ) -> list[str]:
        """Hypotheses as raw text for a collated batch without labels, whose rows are all in these languages. Without
        languages a model that can do so detects them. `decoding` has GenerationConfig's names, and `timestamps` (true)
        where the family is `timed`."""
        raise NotImplementedError

    def decode(
        self,
        model: PreTrainedModel,
        processor: Any,
        batch: Mapping[str, Tensor],
        languages: Sequence[str],
        decoding: Mapping[str, Any],
    ) -> list[Hypothesis]:
        """As `generate`, with whether each hypothesis was cut at the most tokens that were allowed, which CTC doesn't know.
        `decoding` may have `words` (true) where the family has `word_times`."""
        return [Hypothesis(text) for text in self.generate(model, processor, batch, languages, decoding)]

    def unheard(self, model: PreTrainedModel, lengths: np.ndarray) -> dict[int, str]:
        """The examples that the model can't take by the lengths of their features [n]: number -> reason."""
        import numpy as np

        heard = lengths > 0
        if self.task == "asr":
            heard &= self._frames_of(model, lengths) > 0
        return dict.fromkeys(np.flatnonzero(~heard).tolist(), TOO_SHORT)

    def beyond(self, model: PreTrainedModel, lengths: np.ndarray, most: int) -> dict[int, str]:
        """For audio: the examples of which the encoder makes more states than it has positions for, as `unheard`."""
        import numpy as np

        return dict.fromkeys(np.flatnonzero(self._frames_of(model, lengths) > most).tolist(), BEYOND_POSITIONS)

    def _frames_of(self, model: PreTrainedModel, lengths: np.ndarray) -> np.ndarray:
        import torch

        try:
            return self.output_frames(model, torch.as_tensor(lengths)).numpy()
        except NotImplementedError:  # an architecture that doesn't tell
            return lengths

    def beginning(self, processor: Any, languages: Sequence[str] = ()) -> dict[str, Any]:
        """For nmt: settings of `generate`, GenerationConfig's names -> token ids, for what every translation between these
        languages (default: the processor's) begins with beside the start token."""
        return {}

    def decoder_inputs(self, model: PreTrainedModel, labels: Tensor) -> Tensor:
        """For a decoder: the labels [batch, tokens], padded with -100, shifted right behind the start token.
        ConsommeError if the checkpoint names no start token."""
        start = value_of(model.config, "decoder_start_token_id")
        if start is None:
            start = value_of(model.generation_config, "decoder_start_token_id")
        if start is None:
            raise ConsommeError(f"{model.config._name_or_path}: its config.json names no decoder_start_token_id")
        shifted = labels.roll(1, dims=1)
        shifted[:, 0] = start
        pad = model.config.pad_token_id  # without one any token will do: nothing looks at it
        return shifted.masked_fill(shifted == -100, start if pad is None else pad)

    def padding_matters(self, config: Any) -> bool:
        """Whether the padding of a batch changes the output for its shorter examples, in a model with this config."""
        return False

    def frames(self, model: PreTrainedModel, batch: Mapping[str, Tensor]) -> Tensor:
        """For ctc and transducers: the number of output frames of each example [batch], int64."""
        raise NotImplementedError(f"{self.name} has no frames")

    def output_frames(self, model: PreTrainedModel, lengths: Tensor) -> Tensor:
        """For audio: how many states the encoder makes of features of these lengths [n], int64 [n]."""
        raise NotImplementedError(f"{self.name} has no frames")

    def head(self, model: PreTrainedModel, states: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """For ctc: the output layers applied to any layer's hidden states [batch, time, width], dropout included: logits
        [batch, time, vocabulary]. batch: the arguments of the forward pass that gave these states."""
        raise NotImplementedError(f"{self.name} has no CTC head")

    def lattice_nll(self, model: PreTrainedModel, logits: Tensor, labels: Tensor, frames: Tensor) -> Tensor:
        """For transducers: the negative log likelihood of each transcript [batch], nats, over all its alignments.

        logits: what the model's forward gives; labels [batch, tokens], padded with -100; frames: as `frames` counts them."""
        raise NotImplementedError(f"{self.name} is no transducer")

    def window(self, longest: int) -> int:
        """Where `windows`: the frames of the window that an example of `longest` frames is given."""
        raise NotImplementedError(f"{self.name} has no window")

    def full_window(self, config: Any) -> int:
        """Where `windows`: the frames of the window that a model with this config has."""
        raise NotImplementedError(f"{self.name} has no window")

    def fitted(self, model: PreTrainedModel, batch: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        """A context in which the model takes a batch of this shape, whatever its window is."""
        return nullcontext()

    def front(self, config: Mapping[str, Any]) -> tuple[float, float]:
        """For audio: (states of the encoder's layers, numbers that what lies below the layers keeps for the backward pass),
        both for each second. config: what config.json holds, or the settings of a new model. Imports no torch."""
        return 0.0, 0.0

    # -- pruning ---------------------------------------------------------------------------------------------------
    def before_layers(self, model: PreTrainedModel, kept: Mapping[str, Sequence[int]]) -> None:
        """Save what other layers need from those that go, when of `kept[side]` (0-based, ascending) layers will remain.
        Called on the whole model in memory."""

    def after_layers(self, model: PreTrainedModel, kept: Mapping[str, Sequence[int]]) -> None:
        """Mend what else depends on layer numbers after `kept[side]` (0-based, ascending) layers remained:
        layer indices, alignment heads. Called on the pruned model in memory, before it is saved."""

    def after_heads(self, model: PreTrainedModel, kept: Mapping[str, Mapping[int, Sequence[int]]]) -> None:
        """Mend what else depends on head numbers after `kept[group][layer]` (0-based, ascending) heads remained in the
        layers that lost any; a group is SIDE.KIND, such as `decoder.cross`."""

    def no_slicing(self, config: Any) -> str | None:
        """Why the heads of a model with this config can't be cut out (zeroing always works), or None if they can."""
        return None

    # -- export ----------------------------------------------------------------------------------------------------
    def no_conversion(self, config: Mapping[str, Any]) -> str | None:
        """Why a model with this config.json can't be converted into another format than safetensors, or None."""
        return None
