"""How many tokens a model takes. Its config says so; what a tokenizer says is often nothing (1e30) or wrong (1024 where a
Whisper has 448 positions)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from consomme.common.errors import Unusable
from consomme.common.files import read_json
from consomme.families.base import value_of

UNBOUNDED = 1024  # tokens of a model for which neither its config nor its tokenizer knows a limit
KNOWN = 10**9  # what tokenizers without a limit say is far above
KEYS = {
    "source": ("max_encoder_position_embeddings", "max_position_embeddings"),
    "target": ("max_target_positions", "max_decoder_position_embeddings", "max_position_embeddings"),
}
PARTS = {"source": ("encoder",), "target": ("decoder", "decoder_config")}  # of a config that is made of two
REASONS = {
    "source": "source longer than the model's positions",
    "target": "labels longer than the decoder's positions",
}
P = TypeVar("P")


def positions(config: Any, side: str) -> int | None:
    """The tokens that a model with this config (an object or what config.json holds) has positions for, on the side
    "source" (of sentences) or "target"; None where it names no limit."""
    for key in (*KEYS[side], *(f"{part}.{key}" for part in PARTS[side] for key in KEYS[side])):
        found = value_of(config, key)
        if isinstance(found, int) and found > 0:
            return found
    return None


def bounded(processor: P, folder: Path) -> P:
    """The processor or tokenizer of the checkpoint in `folder`; its tokenizer has got `most_tokens`, side -> tokens."""
    tokenizer: Any = getattr(processor, "tokenizer", processor)
    config, said = read_json(folder / "config.json"), tokenizer.model_max_length
    own = said if said < KNOWN else UNBOUNDED
    tokenizer.most_tokens = {side: min(said, positions(config, side) or own) for side in KEYS}
    # transformers would warn of too many tokens by what the tokenizer says; `fits` refuses them by what is so
    if hasattr(tokenizer, "deprecation_warnings"):
        tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True
    return processor


def most_tokens(processor: Any, side: str) -> int:
    """The most tokens of a side, of a processor from `Family.processor`; of another one, what its tokenizer says."""
    tokenizer = getattr(processor, "tokenizer", processor)
    return getattr(tokenizer, "most_tokens", {}).get(side, tokenizer.model_max_length)


def fits(processor: Any, ids: list[int], text: str, side: str) -> list[int]:
    """The token ids of a text. Unusable if there are more than the model has positions for."""
    most = most_tokens(processor, side)
    if len(ids) > most:
        raise Unusable(REASONS[side], f"{len(ids)} tokens, the model has positions for {most}: '{text[:60]}...'")
    return ids
