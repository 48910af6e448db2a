"""WavLM with a CTC head: wav2vec 2.0 with a gated relative position bias (Chen et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consomme.families import characters, keys, waveform
from consomme.families.waveform import DROPOUTS, WaveformCtc, stack


class Scratch(waveform.Scratch):
    """As its relatives."""

    num_buckets: keys.Buckets = 64
    max_bucket_distance: keys.Furthest = 160


@dataclass(frozen=True)
class WavLM(WaveformCtc):
    """See `Family`. The first layer computes the position bias that all layers share."""

    def before_layers(self, model: Any, kept: Mapping[str, Sequence[int]]) -> None:
        layers = model.wavlm.encoder.layers
        layers[kept["encoder"][0]].attention.rel_attn_embed = layers[0].attention.rel_attn_embed

    def no_slicing(self, config: Any) -> str | None:
        return "the position bias that all layers share has a part for each head"


FAMILY = WavLM(
    name="wavlm",
    task="asr",
    objective="ctc",
    model_type="wavlm",
    published=("wavlm",),
    architecture="WavLMForCTC",
    config="WavLMConfig",
    stacks=stack("wavlm", anchored=True),
    scratch=Scratch,
    tokenizer=characters.Settings,
    dropouts=DROPOUTS,
    optional=("masked_spec_embed",),
    masks_input=True,
    head_hooks=False,  # its attention reads the output projection's weights without calling the module
    word_times=True,
)
