"""What the families of encoder-decoder recognisers share: transcripts as labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from consomme.families.encoder_decoder import EncoderDecoder
from consomme.families.positions import fits
from consomme.families.vocabulary import names_special, spelled


@dataclass(frozen=True)
class Transcriber(EncoderDecoder):
    """See `Family`."""

    def labels(self, processor: Any, text: str, languages: Sequence[str]) -> list[int]:
        """The text and the end token: the model puts the start token before them itself."""
        tokenizer = processor.tokenizer
        ids = [*self.prefix(tokenizer, languages), *self.said(tokenizer, text), self.end(tokenizer)]
        return fits(tokenizer, ids, text, "target")

    def said(self, tokenizer: Any, text: str) -> list[int]:
        """Token ids of a text, none of them special."""
        if names_special(tokenizer, text):
            return spelled(tokenizer, text)
        return tokenizer(text, add_special_tokens=False).input_ids

    def prefix(self, tokenizer: Any, languages: Sequence[str]) -> list[int]:
        """Token ids before a transcript."""
        return []

    def end(self, tokenizer: Any) -> int:
        """The token id after a transcript."""
        return tokenizer.eos_token_id

    def generation_settings(self, processor: Any, languages: Sequence[str]) -> dict[str, Any]:
        first = self.prefix(processor.tokenizer, languages)
        return {"forced_bos_token_id": first[0]} if first else {}
