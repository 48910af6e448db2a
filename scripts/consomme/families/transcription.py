"""What the families of encoder-decoder recognisers share: transcripts as labels, and generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.families.base import Family

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

UNBOUNDED = 1024  # tokens at most of a transcript by a model whose positions know no end


@dataclass(frozen=True)
class Transcriber(Family):
    """See `Family`."""

    def labels(self, processor: Any, text: str, languages: Sequence[str]) -> list[int]:
        """The text and the end token: the model puts the start token before them itself."""
        tokenizer = processor.tokenizer
        ids = [*self.prefix(tokenizer, languages), *tokenizer(text, add_special_tokens=False).input_ids]
        ids.append(tokenizer.eos_token_id)
        if len(ids) > tokenizer.model_max_length:
            raise ConsommeError(
                f"a transcript of {len(ids)} tokens, the model has positions for {tokenizer.model_max_length}: "
                f"'{text[:60]}...'; set max_characters on the corpus"
            )
        return ids

    def prefix(self, tokenizer: Any, languages: Sequence[str]) -> list[int]:
        """Token ids before a transcript."""
        return []

    def generate(
        self,
        model: PreTrainedModel,
        processor: Any,
        batch: Mapping[str, Tensor],
        languages: Sequence[str],
        decoding: Mapping[str, Any],
    ) -> list[str]:
        import torch

        from consomme.families.settings import capped, options_for, to_model

        first = self.prefix(processor.tokenizer, languages)
        options = {"num_beams": 1, **({"forced_bos_token_id": first[0]} if first else {})}
        options |= capped(decoding, limit(model.config))
        with torch.inference_mode():
            ids = model.generate(**to_model(model, batch), **options_for(model, options))
        return [t.strip() for t in processor.tokenizer.batch_decode(ids.tolist(), skip_special_tokens=True)]


def limit(config: Any) -> int:
    """How many tokens can be generated: the start token takes one of the decoder's positions."""
    for name in ("max_target_positions", "max_position_embeddings"):
        if positions := getattr(config, name, None):
            return int(positions) - 1
    return UNBOUNDED
