"""Canary and Cohere Transcribe: a Fast Conformer below a decoder of text, which a prompt tells the language to hear and the
language to write (Puvvada et al. 2024, arXiv 2406.19674)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError, Unusable
from consomme.families.codes import code_of
from consomme.families.fast_conformer import DROPOUTS, STACKS, FastConformer
from consomme.families.greedy import pad_frames
from consomme.families.positions import bounded
from consomme.families.transcription import Transcriber, stack

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedModel

LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")


@dataclass(frozen=True)
class Canary(FastConformer, Transcriber):
    """See `Family`. Punctuation is asked for, as its publisher does."""

    def processor(self, path: Path, languages: Sequence[str] = ()) -> Any:
        found = bounded(super().processor(path), path)
        found.prompts = {}  # languages -> prompt
        return found

    def prompt(self, processor: Any, languages: Sequence[str]) -> list[int]:
        """The tokens before a transcript, the decoder's start token first. Unusable if the model has none for a language."""
        if not languages:
            raise ConsommeError(f"languages: {self.name} needs the spoken language; give its code, such as [en]")
        pair = languages[0], languages[-1]
        if pair not in processor.prompts:
            known = [match[1] for token in processor.tokenizer.get_vocab() if (match := LANGUAGE.fullmatch(token))]
            heard, written = (code_of(language, known, self.name) for language in pair)
            try:
                processor.prompts[pair] = self.asked(processor, heard, written)
            except ValueError as error:
                raise Unusable(f"languages: no prompt for '{heard}' and '{written}'", str(error)) from error
        return processor.prompts[pair]

    def asked(self, processor: Any, heard: str, written: str) -> list[int]:
        """The prompt for these languages as the checkpoint's own template has it. ValueError if it has none."""
        silence = [0.0]  # a template needs audio to stand for something, and doesn't look at it
        asked = {"source_language": heard, "target_language": written, "tokenize": False}
        (text,) = processor.apply_transcription_request(silence, **asked)
        return processor.tokenizer(text, add_special_tokens=False).input_ids

    def misfit(self, config: Any, processor: Any) -> str | None:
        """Beside labels that the head lacks: a prompt that doesn't begin with the decoder's start token."""
        try:
            first = self.prompt(processor, ["en"])[0]
        except Unusable as error:
            return str(error)
        if first != config.decoder_start_token_id:
            return f"its prompts begin with the token {first}, and decoder_start_token_id is {config.decoder_start_token_id}"
        return super().misfit(config, processor)

    def prefix(self, processor: Any, languages: Sequence[str]) -> list[int]:
        return self.prompt(processor, languages)[1:]

    def collate(
        self, processor: Any, features: Sequence[np.ndarray], labels: Sequence[Sequence[int]] | None
    ) -> dict[str, Tensor]:
        return pad_frames(features, labels, processor.feature_extractor.padding_value)

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
        import torch

        first = self.prompt(processor, languages)
        given = torch.tensor([first] * len(batch["input_features"]))
        told = {**batch, "decoder_input_ids": given}
        found, limit, generation = super().generated(model, processor, told, languages, decoding, own, **asked)
        return found[:, len(first) :], limit, generation

    def generation_settings(self, processor: Any, languages: Sequence[str]) -> dict[str, Any]:
        return {}

    def output_frames(self, model: PreTrainedModel, lengths: Tensor) -> Tensor:
        return super().output_frames(model.base_model.encoder, lengths)


@dataclass(frozen=True)
class Cohere(Canary):
    """See `Family`. It writes the language that it hears. Its feature extractor cuts longer recordings than 35 s, as its
    publisher sets it, into pieces; here they are left out."""

    def asked(self, processor: Any, heard: str, written: str) -> list[int]:
        if heard != written:
            raise ValueError("it writes the language that it hears")
        return processor.get_decoder_prompt_ids(heard)


KEYS = ("num_hidden_layers", "num_attention_heads", "intermediate_size")
ENCODER = replace(STACKS["encoder"], layers="model.encoder.layers")
HEADS = "config.num_attention_heads"
CANARY = Canary(
    name="canary",
    task="asr",
    objective="seq2seq",
    model_type="canary",
    published=("canary",),
    architecture="CanaryForConditionalGeneration",
    config="CanaryConfig",
    batch_norm=True,
    stacks={"encoder": ENCODER, "decoder": stack("decoder", *(f"decoder_config.{key}" for key in KEYS), HEADS)},
    dropouts=(*DROPOUTS, "decoder_config.attention_dropout"),
    reader="CanaryProcessor",
    prompted=False,
    told=True,
)
COHERE = Cohere(
    name="cohere_asr",
    task="asr",
    objective="seq2seq",
    model_type="cohere_asr",
    published=("cohere-transcribe",),
    architecture="CohereAsrForConditionalGeneration",
    config="CohereAsrConfig",
    batch_norm=True,
    stacks={"encoder": ENCODER, "decoder": stack("decoder", *KEYS, HEADS)},
    dropouts=(*DROPOUTS, "attention_dropout"),
    reader="CohereAsrProcessor",
    prompted=False,
    told=True,
)
