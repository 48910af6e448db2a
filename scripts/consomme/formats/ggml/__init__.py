"""whisper.cpp: Whisper in C and C++ on ggml, for telephones and browsers too, by the bindings pywhispercpp."""

from __future__ import annotations

from consomme.formats.base import Format
from consomme.formats.ggml.convert import Settings, write
from consomme.formats.ggml.run import load

FORMAT = Format(
    name="ggml",
    extra="pywhispercpp",
    write=write,
    load=load,
    decodes=frozenset({"num_beams", "timestamps"}),
    settings=Settings,
    exact=lambda settings: settings.get("quantization") != "q8_0",
    library="whisper.cpp",
    loading="whisper.cpp loads it: `whisper-cli -m FOLDER/ggml-model.bin`, and so does what is built on it.",
)
