"""Models whose input is the waveform: wav2vec 2.0 and its descendants, and what Moonshine shares with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from consomme.common.files import read_json
from consomme.common.settings import Section
from consomme.families import characters, keys
from consomme.families.base import Attention, Family, FeedForward, Stack, enough
from consomme.families.greedy import CtcFamily
from consomme.families.positions import bounded

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
DROPOUTS = ("hidden_dropout", "activation_dropout", "attention_dropout", "feat_proj_dropout", "final_dropout")


class Scratch(Section):
    """A new model with frames of 20 ms, as the published ones have. Sizes that train on a processor."""

    hidden_size: keys.Width = 64
    num_hidden_layers: keys.Layers = 6
    num_attention_heads: keys.Heads = 4
    intermediate_size: keys.Neurons = 128
    conv_dim: keys.Channels = Field([32, 48, 64, 64])
    conv_stride: keys.Strides = Field([5, 4, 4, 4])
    conv_kernel: keys.Kernels = Field([10, 8, 4, 4])
    conv_bias: keys.Bias = True
    feat_extract_norm: keys.FeatureNorm = "layer"
    do_stable_layer_norm: keys.StableNorm = True
    num_conv_pos_embeddings: keys.PositionKernel = 16
    num_conv_pos_embedding_groups: keys.PositionGroups = 4
    hidden_dropout: keys.Dropout = 0.1
    activation_dropout: keys.ActivationDropout = 0.1
    attention_dropout: keys.AttentionDropout = 0.1
    feat_proj_dropout: keys.FeatureDropout = 0.1
    final_dropout: keys.FinalDropout = 0.1
    layerdrop: keys.LayerDrop = 0.0
    apply_spec_augment: keys.OwnMasks = False
    mask_time_prob: keys.TimeMasks = 0.0
    mask_feature_prob: keys.FeatureMasks = 0.0
    ctc_loss_reduction: keys.Reduction = "mean"
    ctc_zero_infinity: keys.ZeroInfinity = True
    initializer_range: keys.Spread = 0.1


def stack(base: str, anchored: bool = False) -> Mapping[str, Stack]:
    """The one stack of wav2vec 2.0 and its descendants; base: the attribute that holds the model below the head."""
    return {
        "encoder": Stack(
            layers=f"{base}.encoder.layers",
            count="num_hidden_layers",
            heads="num_attention_heads",
            layerdrop="layerdrop",
            attentions={"self": Attention("attention")},
            anchored=anchored,
            width="intermediate_size",
            feed_forwards={"feed_forward": FeedForward("feed_forward", ("intermediate_dense",), "output_dense")},
            sublayers={"self": "attention.out_proj", "feed_forward": "feed_forward.output_dense"},
        )
    }


@dataclass(frozen=True)
class Waveform(Family):
    """A family whose features are samples, as a Wav2Vec2FeatureExtractor gives them.

    fewest: samples that the convolutions need to give a frame, where the config doesn't name them."""

    waveform: bool = True
    fewest: int = 400

    def processor(self, path: Path, languages: Sequence[str] = ()) -> Any:
        from transformers import Wav2Vec2Processor

        found: Any = bounded(Wav2Vec2Processor.from_pretrained(path, local_files_only=True), path)
        config = read_json(path / "config.json")
        if {"conv_kernel", "conv_stride"} <= config.keys():
            found.fewest = receptive(config["conv_kernel"], config["conv_stride"])
        return found

    def features(self, processor: Any, source: np.ndarray | str, languages: Sequence[str] = ()) -> np.ndarray:
        """float32 [samples], of zero mean and unit variance where the feature extractor says so."""
        return samples(processor.feature_extractor, source, self._fewest(processor))

    def length(self, processor: Any, samples: int) -> int | None:
        enough(samples, self._fewest(processor))
        return samples

    def _fewest(self, processor: Any) -> int:
        return getattr(processor, "fewest", self.fewest)

    def collate(
        self, processor: Any, features: Sequence[np.ndarray], labels: Sequence[Sequence[int]] | None
    ) -> dict[str, Tensor]:
        return pad_samples(processor.feature_extractor, features, labels)


@dataclass(frozen=True)
class WaveformCtc(Waveform, CtcFamily):
    """See `Family`. Where the feature extractor returns no attention mask, the model was trained without one: batches are
    padded with zeros, and its group norm is changed by them."""

    def create(
        self,
        out: Path,
        settings: Mapping[str, Any],
        tokenizer: Mapping[str, Any],
        texts: Callable[[], Iterator[str]],
        languages: Sequence[str],
        seed: int,
    ) -> None:
        import transformers
        from transformers import Wav2Vec2FeatureExtractor

        from consomme.families.settings import merged, new_model, save

        known = list(getattr(transformers, self.config)().to_dict())
        settings = merged("scratch", self.scratch, settings, more=known)
        masked = settings["feat_extract_norm"] == "layer"
        extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=masked)
        processor = self.make_processor(extractor, self.make_tokenizer(out, tokenizer, texts))
        fixed = {
            "vocab_size": len(processor.tokenizer),
            "pad_token_id": characters.BLANK,
            "bos_token_id": None,
            "eos_token_id": None,
        }
        save(new_model(self, settings, fixed, seed), processor, out)

    def front(self, config: Mapping[str, Any]) -> tuple[float, float]:
        rate = total = 0.0
        for channels, stride in zip(config["conv_dim"], config["conv_stride"], strict=True):
            rate = (rate or 16000.0) / stride
            total += 4 * rate * channels  # into and out of a norm and an activation
        return rate, total

    def make_processor(self, extractor: Any, tokenizer: Any) -> Any:
        from transformers import Wav2Vec2Processor

        return Wav2Vec2Processor(extractor, tokenizer)

    def head(self, model: Any, states: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        base = model.base_model
        if model.config.do_stable_layer_norm:  # the norm of the sum stands after the last layer
            states = base.encoder.layer_norm(states)
        if getattr(base, "adapter", None) is not None:
            states = base.adapter(states)
        return model.lm_head(model.dropout(states))

    def padding_matters(self, config: Any) -> bool:
        return config.feat_extract_norm == "group"  # a norm over time


def receptive(sizes: Sequence[int], strides: Sequence[int]) -> int:
    """The samples that one output of a stack of convolutions sees."""
    seen = 1
    for size, stride in zip(reversed(sizes), reversed(strides), strict=True):
        seen = (seen - 1) * stride + size
    return seen


def samples(extractor: Any, source: Any, fewest: int) -> np.ndarray:
    """What a Wav2Vec2FeatureExtractor gives for one waveform, float32 [samples]."""
    import numpy as np

    from consomme.families.settings import mono

    wave = mono(source)
    enough(len(wave), fewest)
    if extractor.do_normalize:
        (wave,) = extractor.zero_mean_unit_var_norm([wave], None)
    return np.asarray(wave, dtype=np.float32)


def pad_samples(
    extractor: Any, features: Sequence[np.ndarray], labels: Sequence[Sequence[int]] | None
) -> dict[str, Tensor]:
    """`input_values` [batch, samples], their attention_mask where the extractor has one, labels padded with -100."""
    import torch

    from consomme.families.settings import padded

    longest = max(len(f) for f in features)
    values = torch.full((len(features), longest), float(extractor.padding_value))
    for i, feature in enumerate(features):
        values[i, : len(feature)] = torch.tensor(feature)
    batch = {"input_values": values}
    if extractor.return_attention_mask:
        lengths = torch.tensor([[len(f)] for f in features])
        batch["attention_mask"] = (torch.arange(longest) < lengths).long()
    if labels is not None:
        batch["labels"] = padded(labels, -100)
    return batch
