"""What the families of encoder-decoders share: hypotheses from transformers' `generate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consomme.families.base import Family, Hypothesis
from consomme.families.positions import UNBOUNDED, positions

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class EncoderDecoder(Family):
    """See `Family`. prompted: whether transformers' `generate` returns the start token before what is generated."""

    prompted: bool = True

    def generate(
        self,
        model: PreTrainedModel,
        processor: Any,
        batch: Mapping[str, Tensor],
        languages: Sequence[str],
        decoding: Mapping[str, Any],
    ) -> list[str]:
        return [said.text for said in self.decode(model, processor, batch, languages, decoding)]

    def decode(
        self,
        model: Any,  # one with transformers' GenerationMixin
        processor: Any,
        batch: Mapping[str, Tensor],
        languages: Sequence[str],
        decoding: Mapping[str, Any],
    ) -> list[Hypothesis]:
        found, limit, generation = self.generated(model, processor, batch, languages, decoding)
        ids = found.tolist()
        tokenizer = getattr(processor, "tokenizer", processor)
        texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
        cut = self._cut(ids, limit, generation)
        return [Hypothesis(text.strip(), at_end) for text, at_end in zip(texts, cut, strict=True)]

    def generated(
        self,
        model: Any,
        processor: Any,
        batch: Mapping[str, Tensor],
        languages: Sequence[str],
        decoding: Mapping[str, Any],
        own: Mapping[str, Any] | None = None,
        **asked: Any,
    ) -> tuple[Any, int, Any]:
        """What transformers' `generate` returns, the most new tokens that it was allowed, and its GenerationConfig.
        own: settings over those of the family; asked: further arguments of `generate`."""
        import torch

        from consomme.families.settings import capped, options_for, to_model

        told = batch["decoder_input_ids"].shape[1] if "decoder_input_ids" in batch else 0
        settings = {"num_beams": 1, **capped(decoding, self.most_tokens(model, processor) - told)}
        options = options_for(model, settings, {**self.generation_settings(processor, languages), **(own or {})})
        with torch.inference_mode(), self.fitted(model, batch):
            found = model.generate(**to_model(model, batch), **options, **asked)
        return found, settings["max_new_tokens"], options["generation_config"]

    def _cut(self, ids: Sequence[Sequence[int]], limit: int, generation: Any) -> list[bool]:
        """Whether each row of token ids has as many as were allowed and no end among them. Where the checkpoint's own
        settings force an end token at the limit, an end at the very last place is none."""
        ends = generation.eos_token_id
        stops = {*(ends if isinstance(ends, list) else [ends]), generation.pad_token_id}
        last = limit - (generation.forced_eos_token_id is not None)
        made = [row[1:] if self.prompted else row for row in ids]
        return [len(row) >= limit and stops.isdisjoint(row[:last]) for row in made]

    def generation_settings(self, processor: Any, languages: Sequence[str]) -> dict[str, Any]:
        """What every hypothesis of the family needs; names that the architecture's `generate` reads."""
        return {}

    def most_tokens(self, model: PreTrainedModel, processor: Any) -> int:
        """How many tokens can be generated: the start token takes one of the decoder's positions."""
        return (positions(model.config, "target") or UNBOUNDED + 1) - 1
