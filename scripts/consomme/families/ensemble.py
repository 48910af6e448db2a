"""Ensembles: several models that answer as one, by the mean of their log probabilities at every step or frame.

The distribution is the normalised geometric mean of the members' (a product of experts; Hinton 2002). The members stay
separate networks: an ensemble costs as much as all of them, which is what an average of weights saves."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


FILE = "ensemble.json"  # in a model folder: {"members": [folders below it]}, and no weights of its own


def ensemble(models: Sequence[PreTrainedModel]) -> PreTrainedModel:
    """One model of the members' own class whose logits [..., vocabulary] are the mean of the members' log
    probabilities, float32. It can be used like any model: `generate` with or without beams, losses, an `Evaluator`.
    It shares the members' tensors; config and generation config are the first one's. A single model is returned as it
    is.

    Members may differ in depth and width. ConsommeError if they are of different classes or vocabularies; models that
    give different numbers of frames for the same audio are refused when they are run."""
    models = list(models)
    if not models:
        raise ConsommeError("an ensemble needs at least one model")
    first = models[0]
    if len(models) == 1:
        return first
    for other in models[1:]:
        for what, a, b in (
            ("architectures", type(first).__name__, type(other).__name__),
            ("vocabulary sizes", first.config.vocab_size, other.config.vocab_size),
        ):
            if a != b:
                raise ConsommeError(f"models of different {what} can't answer as one: {a}, {b}")
    made = copy.copy(first)
    # a copy of a module shares its dictionary of parts, and the original must not become a member of itself
    made.__dict__["_modules"] = dict(first._modules)
    made.__class__ = _class_of(type(first))
    import torch

    made.members = torch.nn.ModuleList(models)
    return made


@functools.cache
def _class_of(kind: Any) -> Any:
    """The members' class with another forward pass."""

    @functools.wraps(kind.forward)  # `generate` looks at the signature
    def forward(self: Any, **inputs: Any) -> Any:
        return _forward(self.members, inputs)

    def get_encoder(self: Any, modality: str | None = None) -> Any:
        return _encoders([member.get_encoder(modality) for member in self.members])

    return type(f"Ensemble{kind.__name__}", (kind,), {"forward": forward, "get_encoder": get_encoder})


def _forward(members: Sequence[Any], inputs: dict[str, Any]) -> Any:
    """Every member's answer to its own part of the inputs, averaged."""
    own = _own_inputs(members, inputs)
    answers = [member(**inputs, **more) for member, more in zip(members, own, strict=True)]
    shapes = {tuple(answer.logits.shape) for answer in answers}
    if len(shapes) > 1:
        raise ConsommeError(
            "the models of an ensemble give outputs of different shapes [batch, time, vocabulary] for the same input: "
            f"{', '.join(map(str, sorted(shapes)))}; recognisers need one frame rate"
        )
    total = answers[0].logits.float().log_softmax(-1)
    for answer in answers[1:]:
        total = total + answer.logits.float().log_softmax(-1)
    more = {}
    if getattr(answers[0], "past_key_values", None) is not None:
        more["past_key_values"] = _caches([answer.past_key_values for answer in answers])
    return type(answers[0])(logits=total / len(answers), **more)


def _own_inputs(members: Sequence[Any], inputs: dict[str, Any]) -> list[dict[str, Any]]:
    """What each member alone is given: its part of the encoder's states and its cache. Taken out of `inputs`."""
    from transformers import DynamicCache, EncoderDecoderCache
    from transformers.modeling_outputs import BaseModelOutput

    own: list[dict[str, Any]] = [{} for _ in members]
    encoded = inputs.pop("encoder_outputs", None)
    if encoded is not None:
        widths = [member.config.hidden_size for member in members]
        for more, states in zip(own, encoded[0].split(widths, dim=-1), strict=True):
            more["encoder_outputs"] = BaseModelOutput(last_hidden_state=states.contiguous())
    past = inputs.pop("past_key_values", None)
    if past is not None:
        caches = getattr(past, "members", None)
        if caches is None:  # the first step: `generate` made one cache, for one model
            configs = [member.config.get_text_config(decoder=True) for member in members]
            caches = [EncoderDecoderCache(DynamicCache(config=c), DynamicCache(config=c)) for c in configs]
        for more, cache in zip(own, caches, strict=True):
            more["past_key_values"] = cache
    return own


def _encoders(encoders: list[Any]) -> Any:
    """The members' encoders as one module, whose states stand beside each other along the last dimension: as one tensor
    they survive whatever `generate` does to the batch."""
    import torch
    from transformers.modeling_outputs import BaseModelOutput

    class Encoders(torch.nn.Module):
        main_input_name = encoders[0].main_input_name

        def forward(self, **inputs: Any) -> BaseModelOutput:
            return BaseModelOutput(torch.cat([encoder(**inputs).last_hidden_state for encoder in encoders], dim=-1))

    functools.update_wrapper(Encoders.forward, type(encoders[0]).forward)  # `generate` looks at the signature
    return Encoders()


def _caches(members: list[Any]) -> Any:
    """The members' caches as one, which `generate` reorders with its beams."""
    from transformers import EncoderDecoderCache

    class Caches(EncoderDecoderCache):
        members: list[Any]

        def reorder_cache(self, beam_idx: Any) -> None:
            for member in self.members:
                member.reorder_cache(beam_idx)

    made = Caches(members[0].self_attention_cache, members[0].cross_attention_cache)
    made.members = members
    return made
