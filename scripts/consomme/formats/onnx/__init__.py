"""ONNX Runtime: recognisers with CTC, whose one graph gives all frames at once."""

from __future__ import annotations

from consomme.formats.base import Format
from consomme.formats.onnx.convert import Settings, write
from consomme.formats.onnx.run import load

FORMAT = Format(
    name="onnx",
    extra="onnxruntime",
    write=write,
    load=load,
    decodes=frozenset({"words"}),
    settings=Settings,
    objectives=("ctc",),
    exact=lambda settings: not settings.get("quantization"),
    library="onnx",
    loading='ONNX Runtime loads it: `onnxruntime.InferenceSession("FOLDER/model.onnx")`; its output `logits` are decoded by CTC.',
)
