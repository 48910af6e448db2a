"""Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174): the forward pass keeps the inputs of the layers alone, and the
backward pass computes each layer again.

The second pass draws the same random numbers, so that losses, gradients and weights are those of a training without it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from consomme.common.errors import ConsommeError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.families.base import Family


def switch_on(model: PreTrainedModel, family: Family) -> None:
    """Let the layers of `model` be computed again in the backward pass. ConsommeError if its architecture can't."""
    if not model.supports_gradient_checkpointing:
        raise ConsommeError(
            f"gradient_checkpointing: the {type(model).__name__} of '{family.name}' has none in transformers; leave it out. "
            "A batch that doesn't fit the memory is split without it"
        )
    # without `use_reentrant`, layers above frozen weights get their gradients
    passes = {"use_reentrant": False, "context_fn": lambda: (nullcontext(), counted_once(model))}
    model.activation_checkpointing_enable(passes)
    model.disable_input_require_grads()  # needed with `use_reentrant` alone; frozen embeddings would get gradients


@contextmanager
def counted_once(model: PreTrainedModel) -> Generator[None]:
    """Within the block, batch norms leave their running statistics as they are: the first pass has counted the batch."""
    from torch.nn.modules.batchnorm import _BatchNorm

    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    own = [dict(norm.named_buffers(recurse=False)) for norm in norms]
    for norm, buffers in zip(norms, own, strict=True):
        for name, values in buffers.items():
            setattr(norm, name, values.clone())
    try:
        yield
    finally:
        for norm, buffers in zip(norms, own, strict=True):
            for name, values in buffers.items():
                setattr(norm, name, values)
