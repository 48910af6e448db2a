"""ONNX: graphs for ONNX Runtime and for what reads Optimum's files, browsers among them."""

from __future__ import annotations

from consomme.formats.base import Format
from consomme.formats.onnx.convert import Settings, refuses, write
from consomme.formats.onnx.run import load

FORMAT = Format(
    name="onnx",
    extra="onnxruntime",
    write=write,
    load=load,
    decodes=frozenset({"num_beams", "length_penalty", "timestamps", "words", "fallbacks"}),
    settings=Settings,
    objectives=("ctc",),
    refuses=refuses,
    exact=lambda settings: not settings.get("quantization"),
    library="onnx",
    loading='ONNX Runtime loads it. A recogniser with CTC is `onnxruntime.InferenceSession("FOLDER/model.onnx")`, whose output '
    "`logits` are decoded by CTC; an encoder-decoder has its graphs in `onnx/`, where Optimum's `ORTModelForSpeechSeq2Seq` and "
    "`ORTModelForSeq2SeqLM` and Transformers.js find them.",
)
