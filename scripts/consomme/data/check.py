"""One raw row: the row that is stored of it, or why it is left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from consomme.common.errors import ConsommeError
from consomme.common.normalisers import normaliser_named
from consomme.data import audio, waveforms
from consomme.data.audio import Recording
from consomme.data.languages import Languages
from consomme.data.prepared import BY
from consomme.data.sources import Raw
from consomme.data.sources.base import by_of, on_disk
from consomme.data.text import clean, half_characters, nfc

DEFAULT_MAX_SECONDS = 30.0

SIDES = ("source", "target")
# a row's id, the row where it is good, and otherwise (reason, detail)
Checked = tuple[str, dict[str, Any] | None, tuple[str, str] | None]


def checker(
    corpus: Mapping[str, Any], task: str, singles: bool, languages: Sequence[str] = ()
) -> Callable[[Raw], Checked]:
    """What turns a raw row of the task into a stored one. singles: recordings that will be joined; languages: the corpus's,
    of rows without their own."""
    of_row = Languages(corpus, task, languages)
    return Speech(corpus, singles, of_row) if task == "asr" else Pair(corpus, of_row)


class Text:
    """Text as it is stored: cleaned, then normalised as the corpus says; a side that is missing is empty."""

    def __init__(self, corpus: Mapping[str, Any], language: str = "") -> None:
        self.normalise = normaliser_named(corpus.get("normaliser") or "verbatim", language)
        self.least = corpus.get("min_characters") or 1
        self.most = corpus.get("max_characters")

    def __call__(self, text: str | None) -> tuple[str, tuple[str, str] | None]:
        text = text or ""
        if half_characters(text):
            return "", ("encoding", "text with bytes that are no characters")
        done = clean(self.normalise(clean(text)))
        if not done:
            return "", ("no text", f"nothing is left of {text[:60]!r}" if text else "none given")
        if len(done) < self.least:
            return done, ("few characters", str(len(done)))
        if self.most is not None and len(done) > self.most:
            return done, ("many characters", str(len(done)))
        return done, None


class Texts:
    """`Text` in the language of each row."""

    def __init__(self, corpus: Mapping[str, Any]) -> None:
        self.corpus = corpus
        self.made: dict[str, Text | str] = {}  # what is wrong with a language that the normaliser hasn't

    def __call__(self, text: str | None, language: str) -> tuple[str, tuple[str, str] | None]:
        if language not in self.made:
            try:
                self.made[language] = Text(self.corpus, language)
            except ConsommeError as error:
                self.made[language] = str(error)
        made = self.made[language]
        return ("", ("normaliser", made)) if isinstance(made, str) else made(text)


class Pair:
    """A raw sentence pair to a row."""

    def __init__(self, corpus: Mapping[str, Any], languages: Languages) -> None:
        self.languages, self.text, self.ratio = languages, Texts(corpus), corpus.get("max_ratio")
        self.missing, self.by = corpus.get("missing"), by_of(corpus)

    def __call__(self, raw: Raw) -> Checked:
        if raw.problem:
            return raw.id, None, raw.problem
        codes, problem = self.languages(raw)
        if problem:
            return raw.id, None, problem
        row, spoken = shared(raw, self.by) | codes, self.languages.of(codes)
        for side, given, language in zip(SIDES, (raw.source, raw.target), spoken, strict=True):
            row[side], problem = ("", None) if side == self.missing else self.text(given, language)
            if problem:
                return raw.id, None, problem
        lengths = len(row["source"]), len(row["target"])
        if self.ratio is not None and self.missing is None and max(lengths) > self.ratio * min(lengths):
            return raw.id, None, ("ratio", f"{max(lengths) / min(lengths):.2f}")
        return raw.id, row, None


class Speech:
    """A raw recording to a row. `singles`: it will be joined, and limits on seconds hold for the strings."""

    def __init__(self, corpus: Mapping[str, Any], singles: bool, languages: Languages) -> None:
        self.text, self.singles, self.languages = Texts(corpus), singles, languages
        self.missing, self.by = corpus.get("missing") == "target", by_of(corpus)
        self.rate = corpus.get("sampling_rate", 16000)
        self.seconds = limits(corpus)
        self.keep = waveforms.DEFAULT if singles else corpus.get("keep_audio", waveforms.DEFAULT)

    def __call__(self, raw: Raw) -> Checked:
        if raw.problem:
            return raw.id, None, raw.problem
        codes, problem = self.languages(raw)
        if problem:
            return raw.id, None, problem
        text, problem = ("", None) if self.missing else self.text(raw.target, *self.languages.of(codes))
        if problem:
            return raw.id, None, problem
        try:
            samples = self.samples(raw)
        except audio.BadAudio as error:
            reason = error.reason
            if reason == "too long" and self.seconds[1] != DEFAULT_MAX_SECONDS:
                reason = "longer than asked"
            return raw.id, None, (reason, error.detail)
        seconds = len(samples) / self.rate
        if not self.singles and (problem := seconds_problem(seconds, self.seconds)):
            return raw.id, None, problem
        place = (raw.audio, raw.start, raw.end)
        return raw.id, speech_row(shared(raw, self.by) | codes, samples, self.rate, text, self.keep, *place), None

    def samples(self, raw: Raw) -> np.ndarray:
        """int16 [samples] at the corpus's rate."""
        if raw.audio is None:
            raise audio.BadAudio("missing", "no audio given")
        if isinstance(raw.audio, Path | bytes | Recording):
            file = on_disk(raw.audio) if isinstance(raw.audio, Path) else raw.audio
            waveform = audio.read(file, self.rate, self.seconds[1], raw.start, raw.end)
        else:
            samples, rate = raw.audio.waveform()
            first, last = audio.span(len(samples), rate, raw.start, raw.end)
            waveform = audio.resample(samples[first:last], rate, self.rate)
        samples = audio.to_int16(waveform)
        if not samples.any():
            # nothing that the rate can hold, or too quiet for 16 bits
            raise audio.BadAudio("empty", f"nothing but digital silence at {self.rate} Hz in 16 bits")
        return samples


def speech_row(
    origin: Mapping[str, Any],
    samples: np.ndarray,
    rate: int,
    text: str,
    keep: str = waveforms.DEFAULT,
    source: Any = None,
    start: float | None = None,
    end: float | None = None,
) -> dict[str, Any]:
    """A finished row of speech: int16 [samples] at `rate` Hz and its transcript. origin: as from `shared`; keep: how the
    samples are kept; source, start, end: what they were decoded from."""
    return {
        **origin,
        "seconds": len(samples) / rate,
        "text": text,
        "audio_hash": waveforms.hash_of(samples),
        **waveforms.TABLE[keep].cells(samples, rate, source, start, end),
    }


def shared(raw: Raw, by: Sequence[str] = ()) -> dict[str, Any]:
    """What rows of speech and of text have in common: where they come from. by: columns of the source to keep, in NFC."""
    known = {nfc(column): value for column, value in raw.fields.items()} if by else {}
    return {"id": raw.id, "speaker": raw.speaker, "document": raw.document, "recordings": list(raw.recordings)} | {
        f"{BY}{column}": _kept(known.get(column)) for column in by
    }


def _kept(value: Any) -> str | None:
    """A cell for the report, as text; None where it is empty."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return clean(str(value).encode("utf-8", "replace").decode()) or None


def limits(corpus: Mapping[str, Any]) -> tuple[float, float | None]:
    """The least and the greatest length of a row in seconds, None where there is no greatest."""
    return corpus.get("min_seconds") or 0.0, corpus.get("max_seconds", DEFAULT_MAX_SECONDS)


def seconds_problem(seconds: float, limits: tuple[float, float | None]) -> tuple[str, str] | None:
    """Why a row of so many seconds is left out, or None."""
    if seconds < limits[0]:
        return "too short", f"{seconds:.2f} s"
    if limits[1] is not None and seconds > limits[1]:
        return "too long" if limits[1] == DEFAULT_MAX_SECONDS else "longer than asked", f"{seconds:.2f} s"
    return None
