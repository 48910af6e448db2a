"""Hashes that identify cached results: of a model in memory, and of a processor's files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.files import hash_file, read_json

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# Config keys that do not affect the model's output
VOLATILE = (
    "_name_or_path",
    "name_or_path",
    "transformers_version",
    "architectures",
    "dtype",
    "torch_dtype",
    "_from_model_config",
)
# Files of a model folder that are not the processor's
CONFIGS = ("config.json", "generation_config.json")
NO_PROCESSOR = (*CONFIGS, "provenance.json", "content.json", "trainer_state.json")


def hash_model(model: PreTrainedModel) -> str:
    """BLAKE2b of a model in memory: its config without its history, and each tensor's name, dtype, shape and bytes."""
    found = hashlib.blake2b(digest_size=16)
    found.update(stable(model.config).encode())
    seen: dict[tuple[Any, ...], str] = {}
    for name, tensor in sorted(model.state_dict().items()):
        found.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        place = (tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
        if tensor.numel() and place in seen:  # tied: an embedding that is also the output layer is hashed once
            found.update(f"= {seen[place]}".encode())
            continue
        seen[place] = name
        found.update(_bytes(tensor))
    return found.hexdigest()


def processor_key(folder: Path | str) -> str:
    """BLAKE2b of the processor's and tokenizer's files in a model folder, without the keys in VOLATILE."""
    return _files_hash(Path(folder), NO_PROCESSOR)


def checkpoint_key(folder: Path | str) -> str:
    """The same of all that says how a model spells, its configs among it."""
    return _files_hash(Path(folder), [name for name in NO_PROCESSOR if name not in CONFIGS])


def _files_hash(folder: Path, without: Collection[str]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.iterdir()):
        if path.name in without or path.suffix not in (".json", ".txt", ".spm", ".model", ".jinja"):
            continue
        if path.name.endswith(".index.json"):
            continue
        content = _without_history(read_json(path)) if path.suffix == ".json" else hash_file(path)
        found.update(f"{path.name} {json.dumps(content, sort_keys=True)}\n".encode())
    return found.hexdigest()


def stable(config: Any) -> str:
    """A config as text, without the keys that differ between saves of the same model."""
    return "" if config is None else json.dumps(_without_history(config.to_dict()), sort_keys=True, default=str)


def _bytes(tensor: torch.Tensor) -> memoryview:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy())


def _without_history(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _without_history(v) for k, v in value.items() if k not in VOLATILE}
    if isinstance(value, list | tuple):
        return [_without_history(v) for v in value]
    return value
