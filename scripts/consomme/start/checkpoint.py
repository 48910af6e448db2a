"""The files of a checkpoint, and sharded weights as one file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.common.model_files import KINDS, config, forget_code, is_kept, json_mapping, refuse_links_out
from consomme.common.tensor_files import SINGLE, header, refuse_pointer, weight_files
from consomme.families.described import parameters_of
from consomme.weights.compatibility import infinite
from consomme.weights.tensors import Weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.families.base import Family

PATTERNS = ["*.safetensors", *KINDS]
NOT_COPIED = {"provenance.json", "content.json", "trainer_state.json", "training_args.json"}
CHUNK = 1 << 24  # bytes copied at a time
ROOM = 1 << 25  # numbers of a model that its file need not have: positions and masks that are computed, small models


def files_of(source: Path, where: str) -> list[Path]:
    """The files of a checkpoint folder that count, sorted: weights, configs, tokenizer. ConsommeError if it is no
    checkpoint, has only pickled weights, damaged files, or files that are links out of it."""
    if not (source / "config.json").is_file():
        raise ConsommeError(f"{where}: no config.json there, so it is no Hugging Face checkpoint")
    weights = weight_files(source, where)
    others = sorted(p for p in source.iterdir() if p.is_file() and is_kept(p) and p.name not in NOT_COPIED)
    refuse_links_out(source, others, where)
    for path in weights:
        header(path, where)
    for path in others:
        refuse_pointer(path, where)
        if path.name.endswith("config.json"):
            json_mapping(path)  # transformers would go on without a damaged one
    config(source)
    return sorted([*weights, *others])


def refuse_unfit(family: Family, source: Path, where: str) -> None:
    """ConsommeError if a checkpoint's weights are not all finite, or if its config.json describes a model of another size than
    is stored: before memory is taken for one."""
    with Weights(source, where) as weights:
        stored = sum(slot.elements for slot in weights.slots.values())
        if wrong := infinite(weights):
            raise ConsommeError(
                f"{where}: NaN or infinity in the weights: {'; '.join(wrong)}. A training that diverged leaves such: take one of "
                "its earlier checkpoints"
            )
    if (described := parameters_of(family, source)) > 2 * stored + ROOM:
        raise ConsommeError(
            f"{where}: config.json describes a model of {described:,} numbers, and its files hold {stored:,}: one of them belongs "
            "to another checkpoint. Copy the whole folder again"
        )


def copy_checkpoint(source: Path, target: Path, where: str) -> None:
    """Copy a checkpoint's files to the folder `target`, its weights as one model.safetensors in their stored types."""
    files = files_of(source, where)
    for path in files:
        if path.suffix != ".safetensors":
            shutil.copyfile(path, target / path.name)
    merge([path for path in files if path.suffix == ".safetensors"], target / SINGLE)
    forget_code(target)


def complete(folder: Path, model: PreTrainedModel) -> None:
    """Write the weights anew under the names that `model`, loaded from `folder`, has for them, in their stored type,
    if the file's names differ. Old checkpoints name the parts of a weight norm differently, and only models with equal
    names can be averaged."""
    import torch
    from safetensors.torch import save_model

    from consomme.families.new_head import stored_type

    names = set(header(folder / SINGLE, str(folder)))
    parameters = dict(model.named_parameters(remove_duplicate=False))
    there = {id(parameter) for name, parameter in parameters.items() if name in names}  # tied weights are stored once
    never = set(getattr(model, "_keys_to_ignore_on_save", None) or ())  # sinusoids, computed anew
    named = all(id(parameter) in there for name, parameter in parameters.items() if name not in never)
    if named and names <= model.state_dict().keys():
        return
    save_model(model.to(stored_type([folder / SINGLE])), str(folder / SINGLE), {"format": "pt"})
    model.to(torch.float32)


def merge(shards: list[Path], target: Path) -> None:
    """Join safetensors files into one, streaming the bytes: memory use does not grow with the model.

    ConsommeError if a tensor is in two shards."""
    if len(shards) == 1:
        shutil.copyfile(shards[0], target)
        return
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    parts: list[tuple[Path, int]] = []  # shard, where its tensors begin
    offset = 0
    for shard in shards:
        slots, size = header(shard, str(shard.parent)), shard.stat().st_size
        first = min((slot.begin for slot in slots.values()), default=size)
        for name, slot in slots.items():
            if name in entries:
                raise ConsommeError(f"{shard}: {name} is in another shard too; fetch the checkpoint again")
            place = [position - first + offset for position in (slot.begin, slot.end)]
            entries[name] = {"dtype": slot.dtype, "shape": list(slot.shape), "data_offsets": place}
        parts.append((shard, first))
        offset += size - first
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants the tensors aligned
    with open(target, "wb") as out:
        out.write(len(text).to_bytes(8, "little"))
        out.write(text)
        for shard, begin in parts:
            with open(shard, "rb") as stream:
                stream.seek(begin)
                shutil.copyfileobj(stream, out, CHUNK)
