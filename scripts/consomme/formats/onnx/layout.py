"""Where the graphs of an encoder-decoder lie and what their inputs and outputs are called: as Optimum has it
(https://github.com/huggingface/optimum-onnx), whose files Transformers.js reads too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import DynamicCache

FOLDER, ENCODER, DECODER = "onnx", "encoder_model.onnx", "decoder_model_merged.onnx"
IDS, STATES, MASK, LATER = "input_ids", "encoder_hidden_states", "encoder_attention_mask", "use_cache_branch"
PAST, PRESENT, ATTENTIONS = "past_key_values", "present", "cross_attentions"
OWN, HEARD = "decoder", "encoder"  # of which the keys and values are that a layer keeps


def kept(prefix: str, layers: int, *sides: str) -> list[str]:
    """The names of what the layers keep, keys before values; prefix: PAST or PRESENT."""
    return [f"{prefix}.{i}.{side}.{part}" for i in range(layers) for side in sides for part in ("key", "value")]


def filled(pairs: Iterable[tuple[Tensor, Tensor]]) -> DynamicCache:
    """A cache with the keys and values of each layer."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    cache = DynamicCache()
    for keys, values in pairs:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache


def pairs(cache: DynamicCache) -> list[tuple[Tensor, Tensor]]:
    """The keys and values of each layer of a cache."""
    layers: list[Any] = cache.layers
    return [(layer.keys, layer.values) for layer in layers]
