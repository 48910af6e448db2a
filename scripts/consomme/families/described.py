"""How large the model is that a checkpoint's config.json describes, found without taking memory for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from consomme.families.base import Family


def parameters_of(family: Family, folder: Path) -> int:
    """The numbers in the parameters and buffers of that model, tied ones once. Whatever transformers raises for a config that
    it can't use goes on."""
    import torch
    import transformers

    config = getattr(transformers, family.config).from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    if getattr(config, "vocab_size", 0) is None:  # an encoder without a head
        config.vocab_size = 1
    kind = getattr(transformers, family.architecture)
    with torch.device("meta"):
        model = kind.from_config(config, trust_remote_code=False) if hasattr(kind, "from_config") else kind(config)
    return sum(tensor.numel() for tensor in (*model.parameters(), *model.buffers()))
