"""ONNX, for ONNX Runtime and what else reads its graphs, by transformers' own exporter: one graph of a recogniser with CTC, and two
of an encoder-decoder."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from consomme.common.errors import ConsommeError
from consomme.common.extras import require
from consomme.common.settings import Section
from consomme.formats.onnx.layout import FOLDER
from consomme.formats.onnx.run import FILE

if TYPE_CHECKING:
    from torch import Tensor

    from consomme.families.base import Family

# of the noise that a graph is traced with: two lengths, so that the graph has a mask; those below any full window leave it open
SECONDS, WINDOWED = (2.0, 1.6), (0.5, 0.4)
SENTENCES = (7, 5)  # token ids in place of sentences


class Settings(Section):
    """Settings of onnx."""

    quantization: Literal["int8"] | None = Field(
        None,
        description="int8: the matrices in 8 bits, by ONNX Runtime's dynamic quantization, of recognisers with CTC; "
        "default: float32",
    )


def refuses(settings: Mapping[str, Any], family: Family) -> str | None:
    """Why models of the family can't be written with these settings, or None."""
    if settings.get("quantization") and family.objective != "ctc":
        return (
            f"quantization: {settings['quantization']} given; '{family.name}' is written as onnx in float32 alone: leave "
            "`quantization` out, or take ctranslate2"
        )
    return None


def write(model: Path, folder: Path, settings: Mapping[str, Any], work: Path) -> None:
    """Trace the model and write `model.onnx`, or the graphs of an encoder-decoder into the folder `onnx`. The weights of large
    ones lie beside the graph."""
    from consomme.common.model_files import copy_inherited
    from consomme.families import family_of, load
    from consomme.formats.stock import keep_source, stock

    require("onnxruntime", "format: onnx")
    require("onnxscript", "format: onnx")
    source = stock(model, work)
    family = family_of(source)
    loaded: Any = load(source)
    loaded.config.layerdrop = 0.0  # of training; it makes the graph depend on chance
    copy_inherited(source, folder)
    with _traceable():
        if family.objective == "ctc":
            from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter

            inputs = _noise(family, source)
            OnnxExporter().export(loaded, dict[str, Any](inputs), OnnxConfig(dynamic=True)).save_pretrained(folder)
        else:
            from consomme.formats.onnx import seq2seq

            (folder / FOLDER).mkdir()
            seq2seq.write(family, loaded, _noise(family, source), folder / FOLDER)
    if settings.get("quantization"):
        _quantised(folder / FILE)
    keep_source(source, folder)


@contextmanager
def _traceable() -> Generator[None]:
    """Within the block transformers' exporter is silent. ConsommeError for whatever it stumbles over in an architecture."""
    import torch

    from consomme.families.settings import quiet

    quiet()
    for name in ("torch.onnx", "onnxscript", "transformers.exporters"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        # it tells each of its steps on the screen
        with torch.no_grad(), redirect_stdout(StringIO()), warnings.catch_warnings(action="ignore"):
            yield
    except Exception as error:
        said = str(error).strip().splitlines() or [""]
        raise ConsommeError(
            f"format: transformers' exporter can't write this model as onnx: {type(error).__name__}: {said[0][:200]}; "
            "export it as safetensors"
        ) from error


def _noise(family: Family, source: Path) -> dict[str, Tensor]:
    """A batch to trace with."""
    import numpy as np

    processor, random = family.processor(source), np.random.default_rng(0)
    if family.task == "nmt":
        return family.collate(processor, [np.arange(length) for length in SENTENCES], None)
    rate = processor.feature_extractor.sampling_rate
    lengths = [int(seconds * rate) for seconds in (WINDOWED if family.windows else SECONDS)]
    waves = [random.normal(size=length).astype(np.float32) / 10 for length in lengths]
    features = [family.features(processor, wave) for wave in waves]
    if family.padding_matters(_config(source)):
        features = features[:1] * 2
    window = {"frames": family.window(max(map(len, features)))} if family.windows else {}
    return family.collate(processor, features, None, **window)


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
