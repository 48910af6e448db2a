"""The checkpoint unchanged or in half precision, for transformers and the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from consomme.common.errors import ConsommeError
from consomme.common.settings import Section
from consomme.formats.base import Format

if TYPE_CHECKING:
    import numpy as np

WORDS = {"float16": "F16", "bfloat16": "BF16"}


class Settings(Section):
    """Settings of safetensors."""

    quantization: Literal["float16", "bfloat16"] | None = Field(
        None, description="type of the floating-point weights; default: unchanged"
    )


def write(model: Path, folder: Path, settings: Mapping[str, Any], work: Path) -> None:
    """Copy the checkpoint, with the zeroed copy of a head-pruned model; floating-point weights are rounded to `quantization`.

    ConsommeError if a weight is too large for float16."""
    from consomme.common.model_files import ZEROED

    quantization = settings.get("quantization")
    _checkpoint(model, folder, quantization)
    if (model / ZEROED).is_dir():
        (folder / ZEROED).mkdir()
        _checkpoint(model / ZEROED, folder / ZEROED, quantization)


def _checkpoint(model: Path, folder: Path, quantization: str | None) -> None:
    import numpy as np

    from consomme.common.files import read_json, write_json
    from consomme.common.model_files import copy_inherited
    from consomme.common.tensor_files import SINGLE
    from consomme.weights import tensors
    from consomme.weights.mean import PIECE

    copy_inherited(model, folder)
    with tensors.Weights(model) as weights, open(folder / SINGLE, "wb") as stream:

        def target(name: str) -> str:
            dtype = weights.slots[name].dtype
            return WORDS[quantization] if quantization and dtype in tensors.FLOATS else dtype

        def pieces(name: str) -> Iterator[np.ndarray]:
            slot = weights.slots[name]
            for begin, end in tensors.spans(0, slot.elements, PIECE):
                stored = weights.read(name, begin, end)
                if target(name) == slot.dtype:
                    yield stored
                    continue
                with np.errstate(over="ignore"):
                    cast = tensors.from_float64(tensors.to_float64(stored, slot.dtype), target(name))
                if not tensors.finite(cast, target(name)):
                    raise ConsommeError(f"quantization: {name} has values too large for {quantization}; try bfloat16")
                yield cast

        tensors.write(stream, {name: (target(name), slot.shape) for name, slot in weights.slots.items()}, pieces)
    if quantization:
        config = read_json(folder / "config.json")
        config.pop("torch_dtype", None)
        write_json(folder / "config.json", {**config, "dtype": quantization})


SAFETENSORS = Format(
    name="safetensors",
    write=write,
    settings=Settings,
    tasks=("asr", "nmt"),
    library="transformers",
    loading="It is a plain checkpoint: `from_pretrained` of transformers loads it.",
)
