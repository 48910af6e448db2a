"""What the families of encoder-decoder recognisers share: transcripts as labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from consomme.families.base import Attention, FeedForward, Stack
from consomme.families.encoder_decoder import EncoderDecoder
from consomme.families.positions import fits
from consomme.families.vocabulary import names_special, spelled


@dataclass(frozen=True)
class Transcriber(EncoderDecoder):
    """See `Family`."""

    def labels(self, processor: Any, text: str, languages: Sequence[str]) -> list[int]:
        """The prefix, the text and the end token."""
        tokenizer = processor.tokenizer
        ids = [*self.prefix(processor, languages), *self.said(tokenizer, text), self.end(tokenizer)]
        return fits(tokenizer, ids, text, "target")

    def said(self, tokenizer: Any, text: str) -> list[int]:
        """Token ids of a text, none of them special."""
        if names_special(tokenizer, text):
            return spelled(tokenizer, text)
        return tokenizer(text, add_special_tokens=False).input_ids

    def prefix(self, processor: Any, languages: Sequence[str]) -> list[int]:
        """Token ids before a transcript, without the start token, which the model puts there itself."""
        return []

    def end(self, tokenizer: Any) -> int:
        """The token id after a transcript."""
        return tokenizer.eos_token_id

    def generation_settings(self, processor: Any, languages: Sequence[str]) -> dict[str, Any]:
        first = self.prefix(processor, languages)
        return {"forced_bos_token_id": first[0]} if first else {}


def stack(side: str, count: str, heads: str, width: str, inside: str) -> Stack:
    """The layers of one side of Moonshine and of the recognisers whose decoder is like its own. count, heads, width: the
    config's keys; inside: the path from an attention module to the number of its heads."""
    paths = {"self": "self_attn"} | ({"cross": "encoder_attn"} if side == "decoder" else {})
    return Stack(
        layers=f"model.{side}.layers",
        count=count,
        heads=heads,
        layerdrop=None,
        attentions={kind: Attention(path, out="o_proj", heads=inside) for kind, path in paths.items()},
        width=width,
        # Moonshine's fc1 holds values and gates
        feed_forwards={"feed_forward": FeedForward("mlp", ("fc1",), "fc2")},
        sublayers={kind: f"{path}.o_proj" for kind, path in paths.items()} | {"feed_forward": "mlp.fc2"},
    )
