"""What the families of Parakeet share: a Fast Conformer over log-mel frames (Rekesh et al. 2023), its features and tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import Unusable
from consomme.common.settings import Section
from consomme.families import keys, subwords
from consomme.families.base import BEYOND_WINDOW, Attention, Family, FeedForward, Stack, enough

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedModel

UNKNOWN, PADDING = "<unk>", "<pad>"


class Scratch(Section):
    """A new encoder. Sizes that train on a processor."""

    num_mel_bins: keys.MelBins = 80
    hidden_size: keys.Width = 64
    num_hidden_layers: keys.Layers = 6
    num_attention_heads: keys.Heads = 4
    intermediate_size: keys.Neurons = 128
    conv_kernel_size: keys.Kernel = 9
    # twice the frames of the published models, which have 8: short words need them
    subsampling_factor: keys.Subsampling = 4
    subsampling_conv_channels: keys.SubsamplingChannels = 32
    scale_input: keys.ScaledInput = False
    dropout: keys.Dropout = 0.1
    dropout_positions: keys.PositionDropout = 0.0
    activation_dropout: keys.ActivationDropout = 0.1
    attention_dropout: keys.AttentionDropout = 0.1
    layerdrop: keys.LayerDrop = 0.0
    initializer_range: keys.Spread = 0.1


class Tokenizer(subwords.BytePairs):
    """Its tokenizer."""

    vocab_size: keys.Pieces = 128


@dataclass(frozen=True)
class FastConformer(Family):
    """See `Family`. reader: the class of its processor; special: the tokens before the subwords; decoder_type: what
    ParakeetProcessor is told of the head; outer: those settings of `scratch` that belong to the model's config and not to the
    encoder's part of it."""

    reader: str = "ParakeetProcessor"
    special: Sequence[str] = (PADDING, UNKNOWN)
    decoder_type: str | None = None
    outer: Sequence[str] = ()

    def create(
        self,
        out: Path,
        settings: Mapping[str, Any],
        tokenizer: Mapping[str, Any],
        texts: Callable[[], Iterator[str]],
        languages: Sequence[str],
        seed: int,
    ) -> None:
        from transformers import ParakeetEncoderConfig, ParakeetFeatureExtractor

        from consomme.families.settings import merged, new_model, save, typed

        settings = merged("scratch", self.scratch, settings, more=list(ParakeetEncoderConfig().to_dict()))
        encoder = {key: value for key, value in settings.items() if key not in self.outer}
        extractor = ParakeetFeatureExtractor(feature_size=settings["num_mel_bins"])
        processor = self.make_processor(extractor, self.make_tokenizer(out, tokenizer, texts))
        fixed = {
            "encoder_config": typed(ParakeetEncoderConfig, encoder),
            "vocab_size": len(processor.tokenizer),
            **self.ids(processor.tokenizer),
        }
        model = new_model(self, {key: settings[key] for key in self.outer}, fixed, seed)
        self.complete(model)
        save(model, processor, out)

    def ids(self, tokenizer: Any) -> dict[str, int]:
        """The keys of the config that name tokens."""
        return {"pad_token_id": tokenizer.pad_token_id}

    def complete(self, model: PreTrainedModel) -> None:
        """Say in a new model's generation config what its config can't."""

    def front(self, config: Mapping[str, Any]) -> tuple[float, float]:
        encoder = config.get("encoder_config") or config
        rate, bins, total = 100.0, float(encoder.get("num_mel_bins", 80)), 0.0
        while 100.0 / rate < encoder["subsampling_factor"]:
            rate, bins = rate / 2, bins / 2  # each convolution halves both
            total += 3 * rate * bins * encoder["subsampling_conv_channels"]
        return rate, total

    def make_tokenizer(self, out: Path, settings: Mapping[str, Any], texts: Callable[[], Iterator[str]]) -> Any:
        from transformers import ParakeetTokenizer

        from consomme.families.settings import merged

        tokens = merged("tokenizer", self.tokenizer, settings)
        return ParakeetTokenizer(
            tokenizer_object=subwords.byte_pairs(texts, tokens, self.name, self.special),
            unk_token=UNKNOWN,
            pad_token=PADDING,
            clean_up_tokenization_spaces=False,
        )

    def make_processor(self, extractor: Any, tokenizer: Any) -> Any:
        from transformers import ParakeetProcessor

        return ParakeetProcessor(extractor, tokenizer, decoder_type=self.decoder_type)

    def processor(self, path: Path, languages: Sequence[str] = ()) -> Any:
        import transformers

        return getattr(transformers, self.reader).from_pretrained(path, local_files_only=True)

    def features(self, processor: Any, source: np.ndarray | str, languages: Sequence[str] = ()) -> np.ndarray:
        import numpy as np

        from consomme.families.settings import mono

        extractor, wave = processor.feature_extractor, mono(source)
        _heard(extractor, len(wave))
        found = extractor(wave, sampling_rate=extractor.sampling_rate, return_tensors="np")
        return np.ascontiguousarray(found["input_features"][0][found["attention_mask"][0].astype(bool)], np.float32)

    def length(self, processor: Any, samples: int) -> int | None:
        return _heard(processor.feature_extractor, samples)

    def output_frames(self, model: Any, lengths: Tensor) -> Tensor:
        return model._get_subsampling_output_length(lengths).to(lengths.dtype)

    def unheard(self, model: Any, lengths: np.ndarray) -> dict[int, str]:
        most = model.config.encoder_config.max_position_embeddings
        return super().unheard(model, lengths) | self.beyond(model, lengths, most)

    def no_slicing(self, config: Any) -> str | None:
        return "its attention has biases for all heads beside the projections"


def _heard(extractor: Any, samples: int) -> int:
    """The frames of so many samples. Unusable if these are too few, or so many that the extractor would cut them into pieces."""
    enough(samples, 2 * extractor.hop_length)  # one frame alone has no variance to be divided by
    rate, longest = extractor.sampling_rate, getattr(extractor, "max_audio_clip_s", None)
    if longest is not None and samples > max(1, round(longest * rate)):
        raise Unusable(BEYOND_WINDOW, f"{samples / rate:.2f} s")
    return samples // extractor.hop_length


STACKS: Mapping[str, Stack] = {
    "encoder": Stack(
        layers="encoder.layers",
        count="encoder_config.num_hidden_layers",
        heads="encoder_config.num_attention_heads",
        layerdrop="encoder_config.layerdrop",
        attentions={"self": Attention("self_attn", out="o_proj", heads="config.num_attention_heads")},
        width="encoder_config.intermediate_size",
        feed_forwards={f"feed_forward{n}": FeedForward(f"feed_forward{n}", ("linear1",), "linear2") for n in (1, 2)},
        sublayers={
            "feed_forward1": "feed_forward1.linear2",
            "self": "self_attn.o_proj",
            "convolution": "conv.pointwise_conv2",
            "feed_forward2": "feed_forward2.linear2",
        },
    )
}
DROPOUTS = ("encoder_config.dropout", "encoder_config.activation_dropout", "encoder_config.attention_dropout")
