"""T5: an encoder-decoder Transformer with a relative position bias (Raffel et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.settings import Section
from consomme.families import keys, subwords
from consomme.families.base import Attention, FeedForward, Stack
from consomme.families.translation import Translator

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel

SPECIAL = ("<pad>", "</s>", "<unk>")  # ids 0 to 2, as the tokenizer and the config have them


class Scratch(Section):
    """A new model. Sizes that train on a processor."""

    d_model: keys.Width = 96
    num_layers: keys.EncoderLayers = 3
    num_decoder_layers: keys.DecoderLayers = 2
    num_heads: keys.Heads = 4
    d_kv: keys.HeadWidth = 24
    d_ff: keys.Neurons = 384
    feed_forward_proj: keys.GatedActivation = "relu"
    relative_attention_num_buckets: keys.Buckets = 32
    relative_attention_max_distance: keys.Furthest = 128
    dropout_rate: keys.Dropout = 0.1
    initializer_factor: keys.SpreadFactor = 1.0


class Tokenizer(subwords.Unigram):
    """Its tokenizer."""

    model_max_length: keys.Longest = 512


def _attention(path: str) -> Attention:
    return Attention(path, query="q", key="k", value="v", out="o", heads="n_heads")


def _feed_forward(layer: int) -> FeedForward:
    return FeedForward(f"layer.{layer}.DenseReluDense", ("wi", "wi_0", "wi_1"), "wo")  # the last two where it is gated


@dataclass(frozen=True)
class T5(Translator):
    """See `Family`. The first layer of each stack computes the position bias that all its layers share."""

    def create(
        self,
        out: Path,
        settings: Mapping[str, Any],
        tokenizer: Mapping[str, Any],
        texts: Callable[[], Iterator[str]],
        languages: Sequence[str],
        seed: int,
    ) -> None:
        from transformers import GenerationConfig, T5Config, T5Tokenizer

        from consomme.families.settings import merged, new_model, save

        settings = merged("scratch", self.scratch, settings, more=list(T5Config().to_dict()))
        tokens = merged("tokenizer", self.tokenizer, tokenizer)
        positions = tokens.pop("model_max_length")
        pieces, _ = subwords.sentencepiece(texts, tokens, self.name, ("unigram",))
        vocabulary = subwords.behind(SPECIAL, pieces)
        processor = T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=positions)
        ids = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
        model = new_model(self, settings, {**ids, "vocab_size": len(vocabulary)}, seed)
        model.generation_config = GenerationConfig(**ids, max_length=positions)
        save(model, processor, out)

    def processor(self, path: Path, languages: Sequence[str] = ()) -> Any:
        """The tokenizer; its `task_prefix` is what the checkpoint's config wants before each source of this pair, and its
        `task_prefixes` has those of all pairs."""
        from consomme.common.files import read_json

        found = super().processor(path)
        tasks = read_json(path / "config.json").get("task_specific_params") or {}
        found.task_prefixes = {name: (settings or {}).get("prefix", "") for name, settings in tasks.items()}
        found.task_prefix = ""
        self.speak(found, languages)
        return found

    def speak(self, processor: Any, languages: Sequence[str]) -> None:
        if languages:
            processor.task_prefix = processor.task_prefixes.get(f"translation_{'_to_'.join(languages)}", "")

    def features(self, processor: Any, source: np.ndarray | str, languages: Sequence[str] = ()) -> np.ndarray:
        self.speak(processor, languages)
        return super().features(processor, processor.task_prefix + str(source))

    def spelled(self, processor: Any, side: str, text: str, languages: Sequence[str] = ()) -> tuple[list[str], str]:
        self.speak(processor, languages)
        return super().spelled(processor, side, processor.task_prefix * (side == "source") + text, languages)

    def before_layers(self, model: PreTrainedModel, kept: Mapping[str, Sequence[int]]) -> None:
        for side, chosen in kept.items():
            blocks = getattr(model, side).block
            old, new = (blocks[i].layer[0].SelfAttention for i in (0, chosen[0]))
            new.relative_attention_bias, new.has_relative_attention_bias = old.relative_attention_bias, True

    def no_slicing(self, config: Any) -> str | None:
        return "the position bias that all layers share has a part for each head"

    def no_conversion(self, config: Mapping[str, Any]) -> str | None:
        # T5 1.1 and its like. tie_word_embeddings tells older ones; transformers now sets it for every T5
        if config.get("scale_decoder_outputs", config.get("tie_word_embeddings")) is False:
            return "its outputs are not scaled, and CTranslate2's converter would scale them"
        return None


FAMILY = T5(
    name="t5",
    task="nmt",
    objective="seq2seq",
    model_type="t5",
    published=("t5",),
    architecture="T5ForConditionalGeneration",
    config="T5Config",
    stacks={
        "encoder": Stack(
            layers="encoder.block",
            count="num_layers",
            heads="num_heads",
            layerdrop=None,
            attentions={"self": _attention("layer.0.SelfAttention")},
            anchored=True,
            width="d_ff",
            feed_forwards={"feed_forward": _feed_forward(1)},
            sublayers={"self": "layer.0.SelfAttention.o", "feed_forward": "layer.1.DenseReluDense.wo"},
        ),
        "decoder": Stack(
            layers="decoder.block",
            count="num_decoder_layers",
            heads="num_heads",
            layerdrop=None,
            attentions={"self": _attention("layer.0.SelfAttention"), "cross": _attention("layer.1.EncDecAttention")},
            anchored=True,
            width="d_ff",
            feed_forwards={"feed_forward": _feed_forward(2)},
            sublayers={
                "self": "layer.0.SelfAttention.o",
                "cross": "layer.1.EncDecAttention.o",
                "feed_forward": "layer.2.DenseReluDense.wo",
            },
        ),
    },
    scratch=Scratch,
    tokenizer=Tokenizer,
    dropouts=("dropout_rate",),
    exports=("safetensors", "ctranslate2", "onnx"),
    languages=True,
    told=True,
    trimmed=True,
)
