"""Parakeet with a CTC head: a Fast Conformer over log-mel frames (Rekesh et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import Unusable
from consomme.common.settings import Section
from consomme.families import keys, subwords
from consomme.families.base import TOO_SHORT, Attention, FeedForward, Stack
from consomme.families.greedy import CtcFamily

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

UNKNOWN, BLANK = "<unk>", "<pad>"


class Scratch(Section):
    """A new model. Sizes that train on a processor."""

    num_mel_bins: keys.MelBins = 80
    hidden_size: keys.Width = 64
    num_hidden_layers: keys.Layers = 6
    num_attention_heads: keys.Heads = 4
    intermediate_size: keys.Neurons = 128
    conv_kernel_size: keys.Kernel = 9
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
class Parakeet(CtcFamily):
    """See `Family`; `scratch` names the settings of the encoder's part of the config. Its tokens are subwords."""

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
        extractor = ParakeetFeatureExtractor(feature_size=settings["num_mel_bins"])
        processor = self.make_processor(extractor, self.make_tokenizer(out, tokenizer, texts))
        fixed = {
            "encoder_config": typed(ParakeetEncoderConfig, settings),
            "vocab_size": len(processor.tokenizer),
            "pad_token_id": processor.tokenizer.pad_token_id,
        }
        save(new_model(self, {}, fixed, seed), processor, out)

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
            tokenizer_object=subwords.byte_pairs(texts, tokens, self.name, (BLANK, UNKNOWN)),
            unk_token=UNKNOWN,
            pad_token=BLANK,
            clean_up_tokenization_spaces=False,
        )

    def make_processor(self, extractor: Any, tokenizer: Any) -> Any:
        from transformers import ParakeetProcessor

        return ParakeetProcessor(extractor, tokenizer)

    def processor(self, path: Path, languages: Sequence[str] = ()) -> Any:
        from transformers import ParakeetProcessor

        return ParakeetProcessor.from_pretrained(path, local_files_only=True)

    def features(self, processor: Any, source: np.ndarray | str, languages: Sequence[str] = ()) -> np.ndarray:
        import numpy as np

        from consomme.families.settings import mono

        extractor, wave = processor.feature_extractor, mono(source)
        fewest = 2 * extractor.hop_length  # one frame alone has no variance to be divided by
        if len(wave) < fewest:
            raise Unusable(TOO_SHORT, f"{len(wave)} samples, at least {fewest} are needed")
        found = extractor(wave, sampling_rate=extractor.sampling_rate, return_tensors="np")
        return np.ascontiguousarray(found["input_features"][0][found["attention_mask"][0].astype(bool)], np.float32)

    def texts(self, processor: Any, ids: Sequence[np.ndarray]) -> list[str]:
        tokenizer = processor.tokenizer
        said = [tokenizer.decode(row.tolist(), group_tokens=False, skip_special_tokens=True) for row in ids]
        return [" ".join(text.split()) for text in said]

    def output_frames(self, model: Any, lengths: Tensor) -> Tensor:
        return model._get_subsampling_output_length(lengths).to(lengths.dtype)

    def unheard(self, model: Any, lengths: np.ndarray) -> dict[int, str]:
        import numpy as np

        long = self._frames_of(model, lengths) > model.config.encoder_config.max_position_embeddings
        far = dict.fromkeys(np.flatnonzero(long).tolist(), "audio longer than the model's positions")
        return super().unheard(model, lengths) | far

    def head(self, model: Any, states: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return model.ctc_head(states)

    def no_slicing(self, config: Any) -> str | None:
        return "its attention has biases for all heads beside the projections"


FAMILY = Parakeet(
    name="parakeet",
    task="asr",
    objective="ctc",
    model_type="parakeet_ctc",
    published=("parakeet-ctc",),
    architecture="ParakeetForCTC",
    config="ParakeetCTCConfig",
    batch_norm=True,
    stacks={
        "encoder": Stack(
            layers="encoder.layers",
            count="encoder_config.num_hidden_layers",
            heads="encoder_config.num_attention_heads",
            layerdrop="encoder_config.layerdrop",
            attentions={"self": Attention("self_attn", out="o_proj", heads="config.num_attention_heads")},
            width="encoder_config.intermediate_size",
            feed_forwards={
                f"feed_forward{n}": FeedForward(f"feed_forward{n}", ("linear1",), "linear2") for n in (1, 2)
            },
            sublayers={
                "feed_forward1": "feed_forward1.linear2",
                "self": "self_attn.o_proj",
                "convolution": "conv.pointwise_conv2",
                "feed_forward2": "feed_forward2.linear2",
            },
        )
    },
    # twice the frames of the published models, which have a subsampling_factor of 8: short words need them
    scratch=Scratch,
    tokenizer=Tokenizer,
    dropouts=("encoder_config.dropout", "encoder_config.activation_dropout", "encoder_config.attention_dropout"),
)
