"""The files of a checkpoint, and sharded weights as one file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.common.model_files import json_mapping
from consomme.weights.tensors import header, refuse_pointer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PATTERNS = ["*.safetensors", "*.json", "*.spm", "*.txt", "*.model", "*.jinja", "vocab.bpe", "bpe.codes"]
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
GENERATION = "generation_config.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
NOT_COPIED = {"provenance.json", "content.json", INDEX, "trainer_state.json", "training_args.json"}
CHUNK = 1 << 24  # bytes copied at a time


def to_convert(name: str) -> str:
    """How a user turns pickled weights into safetensors."""
    return (
        f'convert {name} once, where you trust it: python -c "import transformers as t; c = t.AutoConfig.from_pretrained'
        "('OLD'); getattr(t, c.architectures[0]).from_pretrained('OLD').save_pretrained('NEW')\", then copy the "
        "tokenizer's files to NEW and write from: {folder: NEW}"
    )


def files_of(source: Path, where: str) -> list[Path]:
    """The files of a checkpoint folder that count, sorted: weights, configs, tokenizer. ConsommeError if it is no
    checkpoint, has only pickled weights, or has damaged ones."""
    if not (source / "config.json").is_file():
        raise ConsommeError(f"{where}: no config.json there, so it is no Hugging Face checkpoint")
    if (source / WEIGHTS).is_file():
        weights = [source / WEIGHTS]
    elif (source / INDEX).is_file():
        weights = [source / name for name in _shards(source / INDEX, where)]
        lost = [path.name for path in weights if path.parent != source or not path.is_file()]
        if lost:
            raise ConsommeError(f"{where}: {INDEX} names {lost[0]}, which is not there; copy the whole folder")
    else:
        pickled = sorted(path.name for pattern in PICKLES for path in source.glob(pattern))
        if pickled:
            raise ConsommeError(
                f"{where}: its weights are in {pickled[0]}, no safetensors; pickled weights are never loaded: "
                f"{to_convert(pickled[0])}"
            )
        raise ConsommeError(f"{where}: no weights there: {WEIGHTS} or {INDEX} is needed")
    others = {
        path
        for pattern in PATTERNS[1:]
        for path in source.glob(pattern)
        if path.is_file() and path.name not in NOT_COPIED
    }
    if (source / GENERATION).is_file():
        json_mapping(source / GENERATION)  # transformers would go on without a damaged one
    for path in weights:
        header(path, where)
    for path in others:
        refuse_pointer(path, where)
    return sorted([*weights, *others])


def _shards(index: Path, where: str) -> list[str]:
    """The names of the files that an index of shards lists. ConsommeError if it lists none."""
    found = json_mapping(index).get("weight_map")
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
        raise ConsommeError(f"{where}: {index.name} is damaged: it has no weight_map of tensors and files")
    return sorted(set(found.values()))


def copy_checkpoint(source: Path, target: Path, where: str) -> None:
    """Copy a checkpoint's files to the folder `target`, its weights as one model.safetensors in their stored types."""
    files = files_of(source, where)
    for path in files:
        if path.suffix != ".safetensors":
            shutil.copyfile(path, target / path.name)
    merge([path for path in files if path.suffix == ".safetensors"], target / WEIGHTS)


def complete(folder: Path, model: PreTrainedModel) -> None:
    """Write the weights anew under the names that `model`, loaded from `folder`, has for them, in their stored type,
    if the file's names differ. Old checkpoints name the parts of a weight norm differently, and only models with equal
    names can be averaged."""
    import torch
    from safetensors.torch import save_model

    from consomme.families.new_head import names_in, stored_type

    names = names_in(folder / WEIGHTS)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    there = {id(parameter) for name, parameter in parameters.items() if name in names}  # tied weights are stored once
    never = set(getattr(model, "_keys_to_ignore_on_save", None) or ())  # sinusoids, computed anew
    named = all(id(parameter) in there for name, parameter in parameters.items() if name not in never)
    if named and names <= model.state_dict().keys():
        return
    save_model(model.to(stored_type([folder / WEIGHTS])), str(folder / WEIGHTS), {"format": "pt"})
    model.to(torch.float32)


def merge(shards: list[Path], target: Path) -> None:
    """Join safetensors files into one, streaming the bytes: memory use does not grow with the model.

    ConsommeError if a tensor is in two shards."""
    if len(shards) == 1:
        shutil.copyfile(shards[0], target)
        return
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    parts: list[tuple[Path, int]] = []  # shard, where its tensors begin
    offset = 0
    for shard in shards:
        with open(shard, "rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            entries = json.loads(stream.read(size))
        entries.pop("__metadata__", None)
        for name, entry in entries.items():
            if name in header:
                raise ConsommeError(f"{shard}: {name} is in another shard too; fetch the checkpoint again")
            begin, end = entry["data_offsets"]
            header[name] = {**entry, "data_offsets": [begin + offset, end + offset]}
        parts.append((shard, 8 + size))
        offset += shard.stat().st_size - 8 - size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants the tensors aligned
    with open(target, "wb") as out:
        out.write(len(text).to_bytes(8, "little"))
        out.write(text)
        for shard, begin in parts:
            with open(shard, "rb") as stream:
                stream.seek(begin)
                shutil.copyfileobj(stream, out, CHUNK)
