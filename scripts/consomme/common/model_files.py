"""The files of a model's folder: those that make it a checkpoint, and those that are its own history."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

ZEROED = "zeroed"  # the folder of a head-pruned model that holds it in its stock shape
KEPT = "checkpoints"  # the folder of what a training kept for averaging
HISTORY = ("provenance.json", "progress.jsonl", "curve.tsv", "search.tsv")
BESIDE = {ZEROED, KEPT, "tensorboard"}
WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack", ".onnx", ".ot"}


def checkpoint_files(folder: Path) -> list[Path]:
    """The files that a checkpoint is made of, relative to its folder, sorted: config, processor or tokenizer, weights.

    Left out: hidden files, what its training and its choice left behind, and the models that lie in it."""

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
    """The files that a model made of this one takes over, relative to its folder, sorted: all of the checkpoint but its
    weights and their indices."""
    return [p for p in checkpoint_files(folder) if p.suffix not in WEIGHTS and not p.name.endswith(".index.json")]


def copy_inherited(donor: Path, folder: Path) -> None:
    """Copy what `folder` inherits from `donor`."""
    for path in inherited(donor):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(donor / path, folder / path)
