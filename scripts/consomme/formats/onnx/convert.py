"""ONNX: one graph of a recogniser with CTC, for ONNX Runtime and what else reads it, by transformers' own exporter.

Its exporter takes encoder-decoders apart into several graphs, and nothing kept decodes with these: they go to CTranslate2."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from consomme.common.errors import ConsommeError
from consomme.common.extras import require
from consomme.common.settings import Section
from consomme.formats.onnx.run import FILE

if TYPE_CHECKING:
    from torch import Tensor

SECONDS = (2.0, 1.6)  # of the noise that the graph is traced with: two lengths, so that the graph has a mask


class Settings(Section):
    """Settings of onnx."""

    quantization: Literal["int8"] | None = Field(
        None, description="int8: the matrices in 8 bits, by ONNX Runtime's dynamic quantization; default: float32"
    )


def write(model: Path, folder: Path, settings: Mapping[str, Any], work: Path) -> None:
    """Trace the model and write `model.onnx`, with `model.onnx.data` beside it for the weights of large ones."""
    import torch
    from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter

    from consomme.common.model_files import copy_inherited
    from consomme.families import family_of, load
    from consomme.families.settings import quiet
    from consomme.formats.stock import keep_source, stock

    require("onnxruntime", "format: onnx")
    require("onnxscript", "format: onnx")
    quiet()
    for name in ("torch.onnx", "onnxscript", "transformers.exporters"):
        logging.getLogger(name).setLevel(logging.ERROR)
    source = stock(model, work)
    family = family_of(source)
    loaded = load(source)
    loaded.config.layerdrop = 0.0  # of training; it makes the graph depend on chance
    inputs = _noise(family, source)
    try:
        with torch.no_grad(), redirect_stdout(StringIO()):  # it tells each of its steps on the screen
            exported = OnnxExporter().export(loaded, dict[str, Any](inputs), OnnxConfig(dynamic=True))
    except Exception as error:  # whatever tracing stumbles over in an architecture
        said = str(error).strip().splitlines() or [""]
        raise ConsommeError(
            f"format: transformers' exporter can't write this model as onnx: {type(error).__name__}: {said[0][:200]}; "
            "export it as safetensors"
        ) from error
    copy_inherited(source, folder)
    exported.save_pretrained(folder)
    if settings.get("quantization"):
        _quantised(folder / FILE)
    keep_source(source, folder)


def _noise(family: Any, source: Path) -> dict[str, Tensor]:
    """A batch to trace with."""
    import numpy as np

    processor = family.processor(source)
    rate, random = processor.feature_extractor.sampling_rate, np.random.default_rng(0)
    waves = [random.normal(size=int(seconds * rate)).astype(np.float32) / 10 for seconds in SECONDS]
    features = [family.features(processor, wave) for wave in waves]
    if family.padding_matters(_config(source)):
        features = features[:1] * 2
    return family.collate(processor, features, None)


def _config(source: Path) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(source, local_files_only=True, trust_remote_code=False)


def _quantised(path: Path) -> None:
    """Put the matrices of the graph in 8 bits, in the same files."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    small = path.with_name(f"small-{path.name}")
    quantize_dynamic(str(path), str(small), weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"])
    path.with_name(f"{path.name}.data").unlink(missing_ok=True)
    small.replace(path)
