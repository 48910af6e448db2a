"""A model in the shape that engines know, with the same number of heads in all layers; and what an export keeps of it."""

from __future__ import annotations

import shutil
from pathlib import Path


def stock(model: Path, work: Path) -> Path:
    """The model itself, or, where heads were cut out, its zeroed copy, made in `work` if it has none."""
    from consomme.common.model_files import ZEROED
    from consomme.weights.compatibility import config
    from consomme.weights.zeroed_copy import write_zeroed_copy

    if not config(model).get("pruned_heads"):
        return model
    if (model / ZEROED / "model.safetensors").exists():
        return model / ZEROED
    shutil.rmtree(work / ZEROED, ignore_errors=True)
    return write_zeroed_copy(model, work / ZEROED)


def keep_source(model: Path, folder: Path) -> None:
    """Copy all files of a model but its weights into the folder `source` of an export."""
    from consomme.common.model_files import SOURCE, copy_inherited

    (folder / SOURCE).mkdir()
    copy_inherited(model, folder / SOURCE)
