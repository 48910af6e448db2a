"""transformers' `generate` above the sessions of an encoder-decoder: beams, prompts, suppressed tokens and timestamps are its
own, only what a model computes comes from ONNX Runtime."""

from __future__ import annotations

from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

from consomme.formats.onnx.layout import (
    ATTENTIONS,
    HEARD,
    IDS,
    LATER,
    MASK,
    OWN,
    PAST,
    PRESENT,
    STATES,
    filled,
    kept,
    pairs,
)


class Past(EncoderDecoderCache):
    """The keys and values that a step leaves to the next. own: of the tokens so far; heard: of what the encoder heard, by the
    names of their inputs: all beams of a row heard the same, so these stay where they are when beams are reordered."""

    def __init__(self, own: DynamicCache, heard: dict[str, np.ndarray]) -> None:
        super().__init__(own, DynamicCache())
        self.own, self.heard = own, heard


def deployed(shape: Any, encoder: Any, decoder: Any) -> Any:
    """The model `shape`, which has no weights, with the forward passes of its encoder and of itself computed by these
    sessions."""
    kind = type(shape)
    shape.__class__ = type(kind.__name__, (kind,), {"device": torch.device("cpu"), "dtype": torch.float32})
    part, step = shape.get_encoder(), Step(decoder)

    @wraps(part.forward)
    def hears(*args: Tensor, **given: Any) -> BaseModelOutput:
        given |= dict(zip([part.main_input_name], args, strict=False))
        (states,) = encoder.run(
            ["last_hidden_state"], {one.name: given[one.name].numpy() for one in encoder.get_inputs()}
        )
        return BaseModelOutput(last_hidden_state=torch.from_numpy(states))

    @wraps(shape.forward)
    def writes(**given: Any) -> Seq2SeqLMOutput:
        if given.get("encoder_outputs") is None:
            given["encoder_outputs"] = hears(**given)
        return step(**given)

    part.forward, shape.forward = hears, writes
    return shape


class Step:
    """A call of the decoder's session, with the arguments of a model's forward pass that matter to it."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.inputs = {one.name: one for one in session.get_inputs()}
        self.attentions = [one.name for one in session.get_outputs() if one.name.startswith(ATTENTIONS)]
        self.layers = sum(name.startswith(PAST) for name in self.inputs) // 4

    def __call__(
        self,
        decoder_input_ids: Tensor,
        encoder_outputs: Any,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        output_attentions: bool = False,
        **rest: Any,
    ) -> Seq2SeqLMOutput:
        states, past = encoder_outputs[0], past_key_values if isinstance(past_key_values, Past) else None
        feeds = {IDS: decoder_input_ids.numpy(), STATES: states.numpy(), LATER: np.array([past is not None])}
        if MASK in self.inputs and attention_mask is not None:
            feeds[MASK] = attention_mask.numpy()
        feeds |= self._nothing(len(decoder_input_ids)) if past is None else self._past(past)
        names = ["logits", *kept(PRESENT, self.layers, OWN)]
        names += kept(PRESENT, self.layers, HEARD) if past is None else []
        names += self.attentions if output_attentions else []
        found = dict(zip(names, self.session.run(names, feeds), strict=True))
        own = [torch.from_numpy(found[name]) for name in kept(PRESENT, self.layers, OWN)]
        both = zip(kept(PAST, self.layers, HEARD), kept(PRESENT, self.layers, HEARD), strict=True)
        heard = {name: found[made] for name, made in both} if past is None else past.heard
        return Seq2SeqLMOutput(
            logits=torch.from_numpy(found["logits"]),
            past_key_values=Past(filled(zip(own[::2], own[1::2], strict=True)), heard),
            encoder_last_hidden_state=states,
            cross_attentions=tuple(torch.from_numpy(found[name]) for name in self.attentions)
            if output_attentions
            else None,
        )

    def _past(self, past: Past) -> dict[str, np.ndarray]:
        own = [part.numpy() for pair in pairs(past.own) for part in pair]
        return dict(zip(kept(PAST, self.layers, OWN), own, strict=True)) | past.heard

    def _nothing(self, rows: int) -> dict[str, np.ndarray]:
        """What the first step is given in place of a past."""
        names = kept(PAST, self.layers, OWN, HEARD)
        sizes = {name: [size if isinstance(size, int) else 0 for size in self.inputs[name].shape[1:]] for name in names}
        return {name: np.zeros((rows, *rest), np.float32) for name, rest in sizes.items()}
