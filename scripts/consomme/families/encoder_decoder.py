"""What the families of encoder-decoders share: hypotheses from transformers' `generate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consomme.families.base import Family

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

UNBOUNDED = 1024  # tokens at most of a hypothesis by a model whose positions know no end


@dataclass(frozen=True)
class EncoderDecoder(Family):
    """See `Family`."""

    def generate(
        self,
        model: Any,  # one with transformers' GenerationMixin
        processor: Any,
        batch: Mapping[str, Tensor],
        languages: Sequence[str],
        decoding: Mapping[str, Any],
    ) -> list[str]:
        import torch

        from consomme.families.settings import capped, options_for, to_model

        settings = {"num_beams": 1, **capped(decoding, self.most_tokens(model, processor))}
        options = options_for(model, settings, self.generation_settings(processor, languages))
        with torch.inference_mode(), self.fitted(model, batch):
            ids = model.generate(**to_model(model, batch), **options)
        tokenizer = getattr(processor, "tokenizer", processor)
        return [text.strip() for text in tokenizer.batch_decode(ids.tolist(), skip_special_tokens=True)]

    def generation_settings(self, processor: Any, languages: Sequence[str]) -> dict[str, Any]:
        """What every hypothesis of the family needs; names that the architecture's `generate` reads."""
        return {}

    def most_tokens(self, model: PreTrainedModel, processor: Any) -> int:
        """How many tokens can be generated: the start token takes one of the decoder's positions."""
        for name in ("max_target_positions", "max_position_embeddings"):
            if positions := getattr(model.config, name, None):
                return int(positions) - 1
        return UNBOUNDED
