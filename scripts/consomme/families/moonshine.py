"""Moonshine: a small encoder-decoder Transformer over the waveform, with rotary positions (Jeffries et al. 2024)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.settings import Section
from consomme.families import keys, subwords
from consomme.families.base import Attention, FeedForward, Stack
from consomme.families.transcription import Transcriber
from consomme.families.waveform import Waveform

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

SPECIAL = ("<unk>", "<s>", "</s>", "<pad>")  # ids 0 to 3; the first three as the published models have them
CONVOLUTIONS = ((127, 64), (7, 3), (3, 2))  # size and stride of each


class Scratch(Section):
    """A new model. Sizes that train on a processor."""

    hidden_size: keys.Width = 96
    intermediate_size: keys.Neurons = 256
    encoder_num_hidden_layers: keys.EncoderLayers = 4
    decoder_num_hidden_layers: keys.DecoderLayers = 2
    encoder_num_attention_heads: keys.EncoderHeads = 4
    decoder_num_attention_heads: keys.DecoderHeads = 4
    max_position_embeddings: keys.MostPositions = 256
    attention_dropout: keys.AttentionDropout = 0.0
    initializer_range: keys.Spread = 0.02


def _attention(path: str, side: str) -> Attention:
    return Attention(path, out="o_proj", heads=f"config.{side}_num_attention_heads")


# the decoder's fc1 holds values and gates
FEED_FORWARD = {"feed_forward": FeedForward("mlp", ("fc1",), "fc2")}


@dataclass(frozen=True)
class Moonshine(Waveform, Transcriber):
    """See `Family`. Its group norm over all of time is changed by the padding of a batch."""

    def create(
        self,
        out: Path,
        settings: Mapping[str, Any],
        tokenizer: Mapping[str, Any],
        texts: Callable[[], Iterator[str]],
        languages: Sequence[str],
        seed: int,
    ) -> None:
        from transformers import (
            GenerationConfig,
            MoonshineConfig,
            PreTrainedTokenizerFast,
            Wav2Vec2FeatureExtractor,
            Wav2Vec2Processor,
        )

        from consomme.families.settings import merged, new_model, save

        settings = merged("scratch", self.scratch, settings, more=list(MoonshineConfig().to_dict()))
        tokens = merged("tokenizer", self.tokenizer, tokenizer)
        pairs = subwords.byte_pairs(texts, tokens, self.name, SPECIAL)
        processor = Wav2Vec2Processor(
            Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True),
            PreTrainedTokenizerFast(
                tokenizer_object=pairs,
                unk_token="<unk>",
                bos_token="<s>",
                eos_token="</s>",
                pad_token="<pad>",
                model_max_length=settings["max_position_embeddings"],
                clean_up_tokenization_spaces=False,
            ),
        )
        ids = {"bos_token_id": 1, "decoder_start_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
        model = new_model(self, settings, {**ids, "vocab_size": pairs.get_vocab_size()}, seed)
        model.generation_config = GenerationConfig(**ids, max_length=settings["max_position_embeddings"])
        save(model, processor, out)

    def front(self, config: Mapping[str, Any]) -> tuple[float, float]:
        rates = [16000.0]
        for _, stride in CONVOLUTIONS:
            rates.append(rates[-1] / stride)
        # the widths of the convolutions are 1, 2 and 1 of the states; the first has a norm
        return rates[3], config["hidden_size"] * (3 * rates[1] + 4 * rates[2] + 2 * rates[3])

    def output_frames(self, model: PreTrainedModel, lengths: Tensor) -> Tensor:
        for size, stride in CONVOLUTIONS:
            lengths = (lengths - size) // stride + 1
        return lengths

    def padding_matters(self, config: Any) -> bool:
        return True

    def no_slicing(self, config: Any) -> str | None:
        return "all its attention modules read the number of their heads from one config"


FAMILY = Moonshine(
    name="moonshine",
    task="asr",
    objective="seq2seq",
    model_type="moonshine",
    published=("moonshine",),
    architecture="MoonshineForConditionalGeneration",
    config="MoonshineConfig",
    stacks={
        "encoder": Stack(
            layers="model.encoder.layers",
            count="encoder_num_hidden_layers",
            heads="encoder_num_attention_heads",
            layerdrop=None,
            attentions={"self": _attention("self_attn", "encoder")},
            width="intermediate_size",
            feed_forwards=FEED_FORWARD,
            sublayers={"self": "self_attn.o_proj", "feed_forward": "mlp.fc2"},
        ),
        "decoder": Stack(
            layers="model.decoder.layers",
            count="decoder_num_hidden_layers",
            heads="decoder_num_attention_heads",
            layerdrop=None,
            attentions={
                "self": _attention("self_attn", "decoder"),
                "cross": _attention("encoder_attn", "decoder"),
            },
            width="intermediate_size",
            feed_forwards=FEED_FORWARD,
            sublayers={"self": "self_attn.o_proj", "cross": "encoder_attn.o_proj", "feed_forward": "mlp.fc2"},
        ),
    },
    scratch=Scratch,
    tokenizer=subwords.BytePairs,
    dropouts=("attention_dropout",),
    fewest=127 + 6 * 64 + 2 * 192,
    trimmed=True,
)
