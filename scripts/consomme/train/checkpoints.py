"""Checkpoints that are whole or absent, and weights in one safetensors file."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from consomme.common import content
from consomme.common.files import follow_umask, link_file
from consomme.common.log import say

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHTS = "model.safetensors"
CHECKPOINT = re.compile(r"checkpoint-\d+")


def newest(folder: Path) -> Path | None:
    """The newest whole checkpoint under `folder`, else None. Removes those after it, which are damaged, with a word, and what
    was being written."""
    shutil.rmtree(folder / "saving", ignore_errors=True)
    for path in reversed(_all(folder)):
        names = content.damaged(path) if (path / content.NAME).exists() else [content.NAME]
        if not names:
            return path
        say(f"{path.name} is damaged and passed over: {', '.join(names)}")
        shutil.rmtree(path)
    return None


def make_room(folder: Path) -> None:
    """Remove all checkpoints but the newest, which stays until one after the next is whole: that may come to harm."""
    for path in _all(folder)[:-1]:
        shutil.rmtree(path)


def place(saved: Path, folder: Path) -> None:
    """Move the checkpoint folder `saved` into `folder`, with the hashes of its files."""
    content.record(saved)
    follow_umask(saved)
    target = folder / saved.name
    shutil.rmtree(target, ignore_errors=True)
    os.replace(saved, target)


def _all(folder: Path) -> list[Path]:
    """The checkpoints under `folder`, by step."""
    found = {int(p.name.rpartition("-")[2]): p for p in folder.glob("checkpoint-*") if CHECKPOINT.fullmatch(p.name)}
    return [found[step] for step in sorted(found)]


def remember(saved: Path, step: int, folder: Path) -> None:
    """Keep the weights of the checkpoint folder `saved` for the case that the run diverges later. They are its own file
    until a later checkpoint takes its place."""
    path = folder / f"weights-{step}.safetensors"
    path.unlink(missing_ok=True)
    link_file(saved / WEIGHTS, path)


def remembered(folder: Path) -> dict[int, Path]:
    """Step -> remembered weights, in order."""
    return dict(sorted((int(p.stem.rpartition("-")[2]), p) for p in folder.glob("weights-*.safetensors")))


def forget_older(folder: Path) -> None:
    """Remove all remembered weights but the newest."""
    for path in list(remembered(folder).values())[:-1]:
        path.unlink()


def write_weights(model: PreTrainedModel, path: Path) -> None:
    """Write the model's weights as they are in memory, tied ones once. The file appears whole."""
    from safetensors.torch import save_model

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    save_model(model, str(temporary))
    follow_umask(temporary)
    os.replace(temporary, path)


def write_plain(model: PreTrainedModel, path: Path) -> None:
    """Write the model's weights under the names of its plain checkpoint, without the head for hybrid CTC. The file appears
    whole."""
    from consomme.train import hybrid

    head = getattr(model, hybrid.HEAD, None)
    hybrid.detach(model)
    try:
        with TemporaryDirectory(prefix=".plain-", dir=path.parent) as folder:
            model.save_pretrained(folder, max_shard_size="1TB")
            follow_umask(Path(folder) / WEIGHTS)
            os.replace(Path(folder) / WEIGHTS, path)
    finally:
        if head is not None:
            setattr(model, hybrid.HEAD, head)


def read_weights(model: PreTrainedModel, path: Path) -> None:
    """Load what `write_weights` wrote into the model."""
    from safetensors.torch import load_model

    load_model(model, str(path), device=str(model.device))
