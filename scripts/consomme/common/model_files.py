"""The files of a model's folder: those of the checkpoint, and those of its history."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError

ZEROED = "zeroed"  # the folder, in that of a head-pruned model, with its copy in the stock shape
KEPT = "checkpoints"  # the folder of the checkpoints that a training kept for averaging
ADAPTER = "adapter"  # the folder of the adapters that a training kept beside the merged weights, in peft's format
SOURCE = "source"  # the folder, in that of an export for another engine, with the files of the model it was made of
HISTORY = ("provenance.json", "content.json", "progress.jsonl", "curve.tsv", "search.tsv")
BESIDE = {ZEROED, KEPT, ADAPTER, SOURCE, "tensorboard"}
WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack", ".onnx", ".ot"}


def config(folder: Path) -> dict[str, Any]:
    """The content of a model's config.json. ConsommeError if there is none, or no JSON mapping in it."""
    path = folder / "config.json"
    if not path.is_file():
        raise ConsommeError(f"{folder}: no config.json: not a model folder")
    return json_mapping(path)


def json_mapping(path: Path) -> dict[str, Any]:
    """The content of one of a checkpoint's JSON files. ConsommeError if it is no JSON mapping in UTF-8."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConsommeError(f"{path} is damaged: not JSON ({error})") from None
    if not isinstance(found, dict):
        raise ConsommeError(f"{path} is damaged: it must hold a mapping")
    return found


def checkpoint_files(folder: Path) -> list[Path]:
    """The files of a checkpoint, relative to its folder, sorted: config, processor or tokenizer, weights.

    Excluded: hidden files, records of its training and its choice, and models in folders inside it."""

    def walk(place: Path) -> Iterator[Path]:
        for path in place.iterdir():
            inside = path.relative_to(folder)
            if path.name.startswith(".") or inside.parts[0] in BESIDE or path.name in HISTORY:
                continue
            if path.is_dir():
                yield from walk(path)
            else:
                yield inside

    return sorted(walk(folder))


def inherited(folder: Path) -> list[Path]:
    """The files that a model made from this one inherits, relative to its folder, sorted: all of the checkpoint except
    weights and their indices."""
    return [p for p in checkpoint_files(folder) if p.suffix not in WEIGHTS and not p.name.endswith(".index.json")]


def copy_inherited(donor: Path, folder: Path) -> None:
    """Copy the inherited files of `donor` to `folder`."""
    for path in inherited(donor):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(donor / path, folder / path)
