"""What determines how fast a model is: its architecture and its window. Models that share both need one measurement."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from consomme.common.digest import digest
from consomme.common.files import read_json
from consomme.common.model_files import SOURCE
from consomme.common.tensor_files import header
from consomme.families.ensemble import FILE
from consomme.families.windows import FULL, KEY
from consomme.formats import exported_as, weights_of

WEIGHTS = "model.safetensors"
# config keys about its origin and the precision of its files, which don't change what is computed: all load as float32
VOLATILE = ("_name_or_path", "transformers_version", "_commit_hash", "dtype", "torch_dtype")


def architecture(folder: Path) -> str:
    """A digest of what determines the amount of computation in a window: the config, and the shapes of the weights or, of
    an export, its engine and its settings."""
    config = {k: v for k, v in config_of(folder).items() if k not in (*VOLATILE, KEY)}
    if engine := exported_as(folder):
        return digest([config, engine.name, read_json(folder / "provenance.json")["settings"]])
    return digest([config, *(shapes(part) for part in weights(folder))])


def windows(folder: Path, decoding: Mapping[str, Any]) -> list[str]:
    """The windows that a model is measured in: the one that the decoding settings name, else its own and the full one."""
    own = decoding.get("window") or config_of(folder).get(KEY) or FULL
    return [own] if decoding.get("window") else list(dict.fromkeys([own, FULL]))


def weights(folder: Path) -> list[Path]:
    """The files that hold a model's weights: its own, those of an ensemble's members, or an engine's own."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / FILE).is_file():
        return [folder / member / WEIGHTS for member in read_json(folder / FILE)["members"]]
    return weights_of(folder)


def shapes(path: Path) -> dict[str, list[int]]:
    """Name -> shape of the tensors of a safetensors file, from its header alone."""
    return {name: list(slot.shape) for name, slot in header(path, str(path.parent)).items()}


def config_of(folder: Path) -> dict[str, Any]:
    """The config of a model, or of what an export was made of."""
    return read_json((folder / SOURCE if exported_as(folder) else folder) / "config.json")
