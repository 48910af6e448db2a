"""Moonshine: a small encoder-decoder Transformer over the waveform, with rotary positions (Jeffries et al. 2024); and its
successor for speech as it comes, whose encoder hears a bounded stretch of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.settings import Section
from consomme.families import keys, subwords
from consomme.families.base import set_value, value_of
from consomme.families.positions import bounded
from consomme.families.transcription import Transcriber, stack
from consomme.families.waveform import Waveform

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedModel

SPECIAL = ("<unk>", "<s>", "</s>", "<pad>")  # ids 0 to 3; the first three as the published models have them
CONVOLUTIONS = ((127, 64), (7, 3), (3, 2))  # size and stride of each
KEYS = ("num_hidden_layers", "num_attention_heads", "intermediate_size")  # the successor's
WINDOWS = (
    "encoder_config.sliding_windows"  # the config's key for the stretch that each layer of the later encoder hears
)


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


@dataclass(frozen=True)
class Streaming(Moonshine):
    """See `Family`. Its encoder takes whole frames of samples."""

    def processor(self, path: Path, languages: Sequence[str] = ()) -> Any:
        from transformers import MoonshineStreamingProcessor

        return bounded(MoonshineStreamingProcessor.from_pretrained(path, local_files_only=True), path)

    def collate(
        self, processor: Any, features: Sequence[np.ndarray], labels: Sequence[Sequence[int]] | None
    ) -> dict[str, Tensor]:
        from torch.nn.functional import pad

        batch = super().collate(processor, features, labels)
        rest = -batch["input_values"].shape[1] % processor.audio_kwargs["pad_to_multiple_of"]
        return {name: tensor if name == "labels" else pad(tensor, (0, rest)) for name, tensor in batch.items()}

    def front(self, config: Mapping[str, Any]) -> tuple[float, float]:
        width = config["encoder_config"]["hidden_size"]
        # frames of 5 ms, and two convolutions that halve them, the first of which is twice as wide
        return 50.0, width * (3 * 200.0 + 4 * 100.0 + 2 * 50.0)

    def output_frames(self, model: Any, lengths: Tensor) -> Tensor:
        return model._get_feat_extract_output_lengths(lengths)

    def unheard(self, model: Any, lengths: np.ndarray) -> dict[int, str]:
        return super().unheard(model, lengths) | self.beyond(model, lengths, model.config.max_position_embeddings)

    def after_layers(self, model: PreTrainedModel, kept: Mapping[str, Sequence[int]]) -> None:
        if "encoder" in kept:
            stretches = value_of(model.config, WINDOWS)
            set_value(model.config, WINDOWS, [stretches[layer] for layer in kept["encoder"]])


FAMILY = Moonshine(
    name="moonshine",
    task="asr",
    objective="seq2seq",
    model_type="moonshine",
    published=("moonshine",),
    architecture="MoonshineForConditionalGeneration",
    config="MoonshineConfig",
    stacks={
        side: stack(side, f"{side}_num_hidden_layers", heads, "intermediate_size", f"config.{heads}")
        for side, heads in (("encoder", "encoder_num_attention_heads"), ("decoder", "decoder_num_attention_heads"))
    },
    scratch=Scratch,
    tokenizer=subwords.BytePairs,
    dropouts=("attention_dropout",),
    fewest=127 + 6 * 64 + 2 * 192,
    trimmed=True,
)
STREAMING = Streaming(
    name="moonshine_streaming",
    task="asr",
    objective="seq2seq",
    model_type="moonshine_streaming",
    published=("moonshine-streaming",),
    architecture="MoonshineStreamingForConditionalGeneration",
    config="MoonshineStreamingConfig",
    stacks={
        "encoder": stack("encoder", *(f"encoder_config.{key}" for key in KEYS), "config.num_attention_heads"),
        "decoder": stack("decoder", *KEYS, "config.num_attention_heads"),
    },
    dropouts=("attention_dropout", "encoder_config.attention_dropout"),
    fewest=80,
)
