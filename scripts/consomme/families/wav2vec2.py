"""wav2vec 2.0 with a CTC head: a Transformer over the waveform (Baevski et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from consomme.families import adapters, characters
from consomme.families.waveform import DROPOUTS, Scratch, WaveformCtc, stack


@dataclass(frozen=True)
class Wav2Vec2(WaveformCtc):
    """See `Family`. MMS is one of many languages."""

    def by_language(self, source: Path) -> bool:
        return bool(adapters.vocabularies(source))

    def beside(self, source: Path, languages: Sequence[str]) -> list[str]:
        file = adapters.adapter_of(source, languages) if self.by_language(source) else None
        return [file] if file else []

    def some_languages(self, source: Path) -> list[str]:
        return [adapters.language_of(source, ())] if self.by_language(source) else super().some_languages(source)

    def settle(self, source: Path, folder: Path, languages: Sequence[str]) -> str:
        return adapters.put_in(source, folder, languages) if self.by_language(source) else ""


FAMILY = Wav2Vec2(
    name="wav2vec2",
    task="asr",
    objective="ctc",
    model_type="wav2vec2",
    published=("wav2vec2", "xls-r", "mms-1b"),
    adapted=("mms-1b-",),
    architecture="Wav2Vec2ForCTC",
    config="Wav2Vec2Config",
    stacks=stack("wav2vec2"),
    scratch=Scratch,
    tokenizer=characters.Settings,
    dropouts=DROPOUTS,
    optional=("masked_spec_embed",),
    masks_input=True,
    word_times=True,
)
