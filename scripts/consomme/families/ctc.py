"""Wav2Vec2-BERT with a CTC head: a Conformer over log-mel frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.common.settings import Section
from consomme.families import characters, keys
from consomme.families.base import Attention, FeedForward, Stack, enough
from consomme.families.greedy import CtcFamily

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

NEURONS = (("intermediate_dense",), "output_dense")  # of every feed-forward part
FRAME, HOP, FFT = 400, 160, 512  # samples; fixed in the stock extractor, whatever the rate


class Scratch(Section):
    """A new model. Sizes that train on a processor."""

    hidden_size: keys.Width = 64
    num_hidden_layers: keys.Layers = 6
    num_attention_heads: keys.Heads = 4
    intermediate_size: keys.Neurons = 128
    hidden_act: keys.Activation = "swish"
    position_embeddings_type: keys.Positions = None
    conv_depthwise_kernel_size: keys.Kernel = 9
    hidden_dropout: keys.Dropout = 0.1
    activation_dropout: keys.ActivationDropout = 0.1
    attention_dropout: keys.AttentionDropout = 0.1
    feat_proj_dropout: keys.FeatureDropout = 0.1
    final_dropout: keys.FinalDropout = 0.1
    conformer_conv_dropout: keys.ConvolutionDropout = 0.1
    layerdrop: keys.LayerDrop = 0.0
    apply_spec_augment: keys.OwnMasks = False
    mask_time_prob: keys.TimeMasks = 0.0
    mask_feature_prob: keys.FeatureMasks = 0.0
    ctc_loss_reduction: keys.Reduction = "mean"
    ctc_zero_infinity: keys.ZeroInfinity = True
    add_adapter: keys.Adapter = False
    num_mel_bins: keys.MelBins = 80
    stride: keys.Stride = 3
    initializer_range: keys.Spread = 0.1


@dataclass(frozen=True)
class Ctc(CtcFamily):
    """See `Family`; `scratch` also has `num_mel_bins` and `stride`, which belong to the feature extractor."""

    def create(
        self,
        out: Path,
        settings: Mapping[str, Any],
        tokenizer: Mapping[str, Any],
        texts: Callable[[], Iterator[str]],
        languages: Sequence[str],
        seed: int,
    ) -> None:
        from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig

        from consomme.families.settings import merged, new_model, save

        settings = merged("scratch", self.scratch, settings, more=list(Wav2Vec2BertConfig().to_dict()))
        bins, stride = settings.pop("num_mel_bins"), settings.pop("stride")
        if stride not in (2, 3):
            # the stock extractor takes the mask of every frame whose number leaves 1 when divided by the stride
            raise ConsommeError(f"scratch.stride: {stride} given; allowed: 2, 3 (frames joined into one)")
        extractor = SeamlessM4TFeatureExtractor(feature_size=bins, num_mel_bins=bins, stride=stride)
        processor = self.make_processor(extractor, self.make_tokenizer(out, tokenizer, texts))
        fixed = {
            "vocab_size": len(processor.tokenizer),
            "pad_token_id": characters.BLANK,
            "bos_token_id": None,
            "eos_token_id": None,
            "feature_projection_input_dim": bins * stride,
        }
        model = new_model(self, settings, fixed, seed)
        _deepen(model)
        save(model, processor, out)

    def make_processor(self, extractor: Any, tokenizer: Any) -> Any:
        from transformers import Wav2Vec2BertProcessor

        return Wav2Vec2BertProcessor(feature_extractor=extractor, tokenizer=tokenizer)

    def front(self, config: Mapping[str, Any]) -> tuple[float, float]:
        frames = 100.0 / (config.get("stride") or config["feature_projection_input_dim"] // 80)
        return frames, frames * 2 * config["hidden_size"]

    def processor(self, path: Path, languages: Sequence[str] = ()) -> Any:
        from transformers import Wav2Vec2BertProcessor

        processor = Wav2Vec2BertProcessor.from_pretrained(path, local_files_only=True)
        if processor.feature_extractor.stride not in (2, 3):
            raise ConsommeError(
                f"{path}: its feature extractor joins {processor.feature_extractor.stride} frames; allowed: 2, 3"
            )
        return processor

    def features(self, processor: Any, source: np.ndarray | str, languages: Sequence[str] = ()) -> np.ndarray:
        from consomme.families.settings import mono

        return _log_mel(processor.feature_extractor, mono(source))

    def length(self, processor: Any, samples: int) -> int | None:
        return _groups(processor.feature_extractor.stride, samples)[0]

    def input_seconds(self, extractor: Any) -> float:
        return extractor.stride * HOP / extractor.sampling_rate

    def head(self, model: Any, states: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        bert = model.wav2vec2_bert
        if bert.intermediate_ffn:
            states = states + 0.5 * bert.intermediate_ffn(states)
        if bert.adapter is not None:
            states = bert.adapter(states, attention_mask=batch.get("attention_mask"))
        return model.lm_head(model.dropout(states))

    def no_slicing(self, config: Any) -> str | None:
        kind = config.position_embeddings_type
        if kind in ("relative", "rotary"):  # both need all heads beside the projections
            return f"position_embeddings_type is {kind} (null and relative_key allow it)"
        return None


def _deepen(model: Any) -> None:
    """Divide the last projection of every residual branch by sqrt(2 · layers), as in GPT-2 (Radford et al. 2019, 2.3).

    A layer ends in a norm of the whole sum. Branches as large as what they are added to would take its place within a
    few layers, and attention, flat at the start, adds the same to every frame: eighteen layers up all frames look
    alike (mean cosine 0.79 at a range of 0.1), and CTC stays for a thousand steps at the loss of guessing.
    """
    import torch

    scale = (2 * model.config.num_hidden_layers) ** -0.5
    with torch.no_grad():
        for layer in model.wav2vec2_bert.encoder.layers:
            ends = layer.ffn1.output_dense, layer.ffn2.output_dense, layer.self_attn.linear_out
            for end in (*ends, layer.conv_module.pointwise_conv2):
                end.weight.mul_(scale)


def _groups(stride: int, samples: int) -> tuple[int, int]:
    """How many groups of `stride` frames a waveform gives, and how many there are with padding. Unusable if it is too short."""
    fewest = FRAME + HOP * (stride - 1)
    enough(samples, fewest)
    count = (samples - FRAME) // HOP + 1
    # the extractor makes the number of frames even, drops what fills no group, and masks a group by its second frame
    whole = (count + count % 2) // stride
    return sum(1 for group in range(whole) if group * stride + 1 < count), whole


def _log_mel(extractor: Any, wave: np.ndarray) -> np.ndarray:
    """What SeamlessM4TFeatureExtractor gives for one utterance, [time, bins * stride], without its Python loop."""
    import numpy as np
    import torch

    valid, whole = _groups(extractor.stride, len(wave))
    samples = torch.from_numpy(wave).double() * 2**15  # Kaldi's scale
    frames = samples.unfold(0, FRAME, HOP)
    frames = frames - frames.mean(1, keepdim=True)
    emphasised = frames.clone()
    emphasised[:, 1:] -= 0.97 * frames[:, :-1]
    emphasised[:, 0] *= 1 - 0.97
    window = torch.from_numpy(np.asarray(extractor.window)).double()
    power = torch.fft.rfft((emphasised * window).float(), FFT).abs().pow(2)
    filters = torch.from_numpy(np.asarray(extractor.mel_filters)).float()
    mel = (power @ filters).clamp_min(1.192092955078125e-07).log()
    mel = (mel - mel.mean(0)) / (mel.var(0, correction=1) + 1e-7).sqrt()
    if len(mel) % 2:
        mel = torch.cat([mel, mel.new_full((1, mel.shape[1]), extractor.padding_value)])
    return mel[: whole * extractor.stride].reshape(whole, -1)[:valid].numpy()


FAMILY = Ctc(
    name="ctc",
    task="asr",
    objective="ctc",
    model_type="wav2vec2-bert",
    published=("w2v-bert", "wav2vec2-bert"),
    architecture="Wav2Vec2BertForCTC",
    config="Wav2Vec2BertConfig",
    stacks={
        "encoder": Stack(
            layers="wav2vec2_bert.encoder.layers",
            count="num_hidden_layers",
            heads="num_attention_heads",
            layerdrop="layerdrop",
            attentions={"self": Attention("self_attn", "linear_q", "linear_k", "linear_v", "linear_out")},
            width="intermediate_size",
            feed_forwards={f"feed_forward{n}": FeedForward(f"ffn{n}", *NEURONS) for n in (1, 2)},
            outside={
                "before_adapter": FeedForward("wav2vec2_bert.intermediate_ffn", *NEURONS),
                "adapter": FeedForward("wav2vec2_bert.adapter.layers.*.ffn", *NEURONS),
            },
            sublayers={
                "feed_forward1": "ffn1.output_dense",
                "self": "self_attn.linear_out",
                "convolution": "conv_module.pointwise_conv2",
                "feed_forward2": "ffn2.output_dense",
            },
        )
    },
    # sizes that train on a processor; convolution gives positions, so attention needs none
    scratch=Scratch,
    tokenizer=characters.Settings,
    dropouts=(
        "hidden_dropout",
        "activation_dropout",
        "attention_dropout",
        "feat_proj_dropout",
        "final_dropout",
        "conformer_conv_dropout",
    ),
    word_times=True,
)
