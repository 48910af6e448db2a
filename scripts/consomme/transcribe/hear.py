"""A recogniser, opened: waveforms in, stretches of text with their times out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError, Unusable
from consomme.common.files import read_json
from consomme.common.model_files import SOURCE
from consomme.families import TABLE as FAMILIES
from consomme.families.base import Segment
from consomme.formats import Asked, engines, exported_as, format_named, start
from consomme.transcribe.written import Said

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel

    from consomme.families.base import Family, Hypothesis

BATCH = 16
STRETCH = 600.0  # seconds of a long recording that Whisper hears in one go, so that an interruption loses no more
PIECE = 20.0  # seconds of a piece for models without a window


class Hearer(ABC):
    """rate: of waveforms, Hz. most: seconds of a piece; long: seconds from which on a piece is heard by itself. batch: the
    most pieces together."""

    family: Family
    processor: Any
    model: PreTrainedModel  # of an export its shape
    languages: Sequence[str]
    most: float
    alone: float
    batch: int

    @property
    def rate(self) -> int:
        return int(self.processor.feature_extractor.sampling_rate)

    @property
    def times(self) -> bool:
        """Whether the model writes timestamps."""
        return bool(self.family.timed and getattr(self.processor.tokenizer, "timestamps", ()))

    @abstractmethod
    def hypotheses(self, waves: Sequence[np.ndarray]) -> list[Hypothesis]:
        """Of some pieces. Unusable if the model can't take one."""

    def check(self, wave: np.ndarray) -> None:
        """Unusable if the model can't take a piece: it is too short."""
        import numpy as np

        features = self.family.whole(self.processor, wave, self.languages)
        for reason in self.family.unheard(self.model, np.array([len(features)])).values():
            raise Unusable(reason)

    def hear(self, waves: Sequence[np.ndarray]) -> list[list[Said]]:
        """The stretches of each piece, with times from the piece's start, and those without text left out."""
        found = []
        for wave, said in zip(waves, self.hypotheses(waves), strict=True):
            seconds = len(wave) / self.rate
            parts = said.segments or [Segment(0.0, seconds, said.text)]
            words = said.words or [None] * len(parts)
            both = zip(parts, words, strict=True)
            found.append([_said(part, own, seconds) for part, own in both if part.text])
        return found


def _said(part: Segment, words: Sequence[Segment] | None, seconds: float) -> Said:
    """A stretch of a piece of so many seconds, and its words."""
    own = None if words is None else [_said(word, None, seconds) for word in words]
    end = seconds if part.end is None else part.end
    return Said(min(part.start, seconds), min(end, seconds), part.text, words=own)


class Checkpoint(Hearer):
    """A model that transformers runs. A long recording is heard by Whisper's own algorithm, with its fallbacks."""

    def __init__(self, folder: Path, language: str | None, device: str, beams: int, timed: bool, words: bool) -> None:
        from consomme.families import family_of, load

        self.family = recogniser(folder, family_of(folder))
        if words:
            tells_words(folder, self.family)
        self.model, self.processor = load(folder, device), self.family.processor(folder)
        self.languages = [language] if language else languages_of(self.family, folder)
        self.asked: dict[str, Any] = {"num_beams": beams, **({"words": True} if words else {})}
        self.batch = 1 if self.family.padding_matters(self.model.config) else BATCH
        window = _window(self.family, self.processor, self.model.config)
        self.most, self.alone = (STRETCH if self.times else window), window
        if timed and self.times:
            self.asked["timestamps"] = True

    def hypotheses(self, waves: Sequence[np.ndarray]) -> list[Hypothesis]:
        import torch

        from consomme.families.windows import Window

        features = [self.family.whole(self.processor, wave, self.languages) for wave in waves]
        asked, fitting = dict(self.asked), {}
        if self.family.long(self.processor, max(map(len, features))):
            asked["fallbacks"] = True
        else:
            fitting = Window.of(self.family, self.model.config).fitting(features)
        batch = self.family.collate(self.processor, features, None, **fitting)
        with torch.random.fork_rng():
            torch.manual_seed(0)  # fallbacks draw: the same text at every call
            return self.family.decode(self.model, self.processor, batch, self.languages, asked)


class Export(Hearer):
    """A model that its own engine runs."""

    def __init__(
        self, folder: Path, language: str | None, device: str, threads: int, beams: int, timed: bool, words: bool
    ) -> None:
        from consomme.families import device_named, family_of

        form = exported_as(folder)
        if words:
            tells_words(folder, family_of(folder / SOURCE))
        self.running = start(folder, [], threads, device_named(device))
        self.family, self.processor = recogniser(folder, self.running.family), self.running.processor
        self.model = self.running.model
        self.languages = [language] if language else languages_of(self.family, folder / SOURCE)
        self.batch = self.running.batch
        window = _window(self.family, self.processor, self.model.config)
        self.most, self.alone = (STRETCH if self.running.long and self.times else window), window
        able = form.decodes if form else frozenset()
        wanted = {"timestamps": timed and self.times and "timestamps" in able, "words": words}
        self.asked: dict[str, Any] = {"num_beams": beams, **{key: True for key, value in wanted.items() if value}}
        self.falls_back = "fallbacks" in able

    def hypotheses(self, waves: Sequence[np.ndarray]) -> list[Hypothesis]:
        import torch

        long = max(map(len, waves)) > self.alone * self.rate
        asked = self.asked | ({"fallbacks": True} if long and self.falls_back else {})
        with torch.random.fork_rng():
            torch.manual_seed(0)  # fallbacks draw: the same text at every call
            return self.running.decode(waves, Asked(self.languages, asked))


def open_model(
    folder: Path, language: str | None, device: str, threads: int, beams: int, timed: bool, words: bool = False
) -> Hearer:
    """The recogniser in a folder. timed: whether times of stretches are wanted; words: those of words. ConsommeError for a
    translator, and for a model that doesn't tell when words are said."""
    import torch

    torch.set_num_threads(threads)
    if exported_as(folder):
        return Export(folder, language, device, threads, beams, timed, words)
    return Checkpoint(folder, language, device, beams, timed, words)


def tells_words(folder: Path, family: Family) -> None:
    """ConsommeError if a model of the family, or the export in the folder, doesn't tell when words are said."""
    form = exported_as(folder)
    if form and "words" not in form.decodes:
        able = ", ".join(name for name in engines() if "words" in format_named(name).decodes)
        raise ConsommeError(
            f"--words: {folder}: exports for {form.name} don't tell when words are said; those for {able} do"
        )
    if not family.word_times:
        able = ", ".join(name for name, one in FAMILIES.items() if one.word_times)
        raise ConsommeError(f"--words: {folder}: {family.name} doesn't tell when words are said; allowed: {able}")


def recogniser(folder: Path, family: Family) -> Family:
    if family.task != "asr":
        raise ConsommeError(f"{folder}: a model of family {family.name} translates; use consomme.translate")
    return family


def languages_of(family: Family, folder: Path) -> list[str]:
    """The language that the model was trained for, from its folder; none if it was for several, and can tell them apart."""
    config, record = folder / "generation_config.json", folder / "provenance.json"
    if config.is_file() and (named := read_json(config).get("language")):
        return [named.strip("<|>")]
    if family.known_languages(folder):
        return []
    return list(read_json(record).get("languages") or []) if record.is_file() else []


def _window(family: Family, processor: Any, config: Any) -> float:
    """Seconds of a piece that the model hears at once."""
    if not family.windows:
        return PIECE
    extractor = processor.feature_extractor
    return family.full_window(config) * extractor.hop_length / extractor.sampling_rate
