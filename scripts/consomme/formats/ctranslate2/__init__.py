"""CTranslate2: a C++ engine for encoder-decoder models, with 8-bit weights on processors (Klein et al. 2020)."""

from __future__ import annotations

from consomme.formats.base import Format
from consomme.formats.ctranslate2.convert import INTEGERS, Settings, write
from consomme.formats.ctranslate2.run import NAMES, load

FORMAT = Format(
    name="ctranslate2",
    extra="ctranslate2",
    write=write,
    load=load,
    decodes=frozenset({*NAMES, "timestamps", "words"}),
    settings=Settings,
    exact=lambda settings: settings.get("quantization") not in INTEGERS,
    library="ctranslate2",
    loading="CTranslate2 loads it: a Whisper by `faster_whisper.WhisperModel(FOLDER)`, a translator by `ctranslate2.Translator(FOLDER)`.",
)
