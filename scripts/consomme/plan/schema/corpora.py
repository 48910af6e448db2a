"""Corpora, where they come from, and how nodes name them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from consomme.common.normalisers import TABLE as _NORMALISERS
from consomme.common.settings import Chosen, Language, Name, Section
from consomme.common.values import Integer, Number, Text, Texts
from consomme.data.sources import TABLE as SOURCES
from consomme.plan.schema.choice import Decoding

NORMALISERS = f"{', '.join(_NORMALISERS)}, or several joined by +, such as numbers+basic"


class Bounds(Section):
    """A range of whole numbers, both ends included."""

    from_: Integer = Field(alias="from", description="smallest value kept")
    to: Integer = Field(description="largest value kept")


Pieces = Annotated[Integer, Field(ge=1, le=1000)]
Seconds = Annotated[Number, Field(ge=0, le=60)]


class Join(Section):
    """Single recordings of one speaker joined into longer utterances."""

    length: tuple[Pieces, Pieces] = Field(description="fewest and most recordings in one utterance")
    uses: Integer = Field(1, ge=1, le=1000, description="number of utterances that use each recording; 1 for test sets")
    gap: tuple[Seconds, Seconds] = Field((0.0, 0.1), description="shortest and longest silence between two, seconds")
    edge: tuple[Seconds, Seconds] = Field(
        (0.0, 0.0), description="shortest and longest silence before the first and after the last, seconds"
    )
    seed: Integer = Field(1, description="seed of the random choice of recordings to join")


class Corpus(Chosen):
    """Rows of a source: the keys of every corpus."""

    BY, TABLE = "source", SOURCES

    source: Text = Field(description="where the rows come from")
    without: list[Name] = Field(
        default_factory=list,
        description="corpora whose rows must not recur here: same audio, recording, document, or normalised sentence",
    )
    where: dict[str, Bounds | list[Any]] = Field(
        default_factory=dict,
        description="keep rows by a column (or a field of the pattern): a list of values, or {from: 0, to: 9}",
    )

    language: Language | None = Field(None, description="asr: of the recordings, such as fr; default: the experiment's")
    languages: tuple[Language, Language] | None = Field(
        None, description="nmt: [source, target], such as [en, fr]; default: the experiment's"
    )
    missing: Literal["target", "source"] | None = Field(
        None,
        description="the side that the corpus lacks, to be relabelled: target (translations or transcripts) or source",
    )
    limit: Integer | None = Field(
        None,
        ge=1,
        le=10**12,
        description="at most this many of the rows that all else leaves, chosen by a hash of their ids",
    )
    join: Join | None = Field(None, description="asr: join single recordings of one speaker")
    sampling_rate: Integer = Field(16000, ge=4000, le=768_000, description="Hz; audio is resampled to it")
    keep_audio: Literal["samples", "flac", "in_place"] = Field(
        "samples",
        description="asr: how waveforms are kept: samples (16 bits, and features beside them), flac (the same samples in half "
        "the space) or in_place (not at all: they are read from where they lie); the last two are decoded at each use, and "
        "their features are computed then",
    )
    normaliser: Text = Field("verbatim", description=f"applied to the text: {NORMALISERS}")
    min_seconds: Number = Field(0.0, ge=0, le=10**6, description="asr: shorter utterances are left out")
    max_seconds: Number = Field(
        30.0,
        gt=0,
        le=10**6,
        description="asr: longer utterances are left out; above 30 s, Whisper decodes those of test and development sets in several windows",
    )
    min_characters: Integer = Field(1, ge=1, le=10**9, description="shorter texts are left out")
    max_characters: Integer | None = Field(None, ge=1, le=10**9, description="longer texts are left out")
    max_ratio: Number | None = Field(None, gt=1, le=10**6, description="nmt: longer over shorter side, in characters")
    max_skipped: Number = Field(0.01, ge=0, le=1, description="fraction of bad rows above which preparation fails")
    parts: Integer | None = Field(
        None,
        ge=2,
        le=1000,
        description="how many jobs check the rows, each its share of them, before they are put together; whatever it is, the "
        "prepared corpus is the same",
    )

    @field_validator("where")
    @classmethod
    def _no_truths(cls, value: dict[str, Bounds | list[Any]]) -> dict[str, Bounds | list[Any]]:
        for column, wanted in value.items():
            if isinstance(wanted, list) and any(isinstance(v, bool) for v in wanted):
                raise ValueError(
                    f'{column}: YAML reads yes, no, on and off as true and false: write "no" in quotes; a column of true and '
                    'false has "True" and "False"'
                )
        return value


Corpora = Annotated[list[Text], Field(min_length=1)]


class Data(Section):
    """The corpora that a graph or a node uses."""

    train: dict[Text, Number] | None = Field(
        None, description="corpus: weight (an epoch draws weight times its rows); a list gives weight 1"
    )
    dev: dict[Name, Corpora] | None = Field(None, description="development set: its corpus, or list of corpora")
    test: dict[Name, Corpora] | None = Field(
        None, description="test set: its corpus, or list of corpora; used only for the report"
    )
    share: Number = Field(
        1.0, gt=0, le=1, description="fraction of the training rows in use; smaller subsets are part of larger ones"
    )
    temperature: Number | None = Field(
        None,
        ge=1,
        le=10**6,
        description="draw training rows of a language with n rows in proportion to n^(1/temperature), so that languages with "
        "few rows come more often (Arivazhagan et al. 2019, arXiv 1907.05019); an epoch stays as long; 1: as the data lies",
    )

    @field_validator("train", mode="before", json_schema_input_type=str | list[str] | dict[str, float | str] | None)
    @classmethod
    def _weights(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [value]
        return dict.fromkeys(_names(value), 1.0) if isinstance(value, list) else value

    @field_validator("train")
    @classmethod
    def _positive(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        for corpus, weight in (value or {}).items():
            if not 0 < weight <= 10**6:
                raise ValueError(
                    f"the weight of {corpus} is {weight:g}; a weight is larger than 0, and a million at most"
                )
        return value

    @field_validator(
        "dev", "test", mode="before", json_schema_input_type=str | list[str] | dict[str, str | list[str]] | None
    )
    @classmethod
    def _sets(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [value]
        if isinstance(value, list):
            value = {name: name for name in _names(value)}
        if isinstance(value, dict):
            value = {k: [v] if isinstance(v, str) else v for k, v in value.items()}
        return value


def _names(given: list[Any]) -> list[Any]:
    """ValueError if an entry isn't the name of a corpus."""
    for name in given:
        if isinstance(name, dict | list):
            raise ValueError(f"a list names corpora; in it is {name!r}")
    return given


class Keep(Section):
    """Filters of relabelled rows; rows that pass all of them are kept."""

    confidence: Number | None = Field(
        None, gt=0, le=1, description="lowest geometric mean of the model's token probabilities for its own text"
    )
    share: Number | None = Field(
        None,
        gt=0,
        le=1,
        description="fraction to keep of the rows that pass all other filters, the most confident first",
    )
    wer: Number | None = Field(
        None, ge=0, le=10**6, description="asr: highest WER of a row against its transcript, points"
    )
    cer: Number | None = Field(
        None, ge=0, le=10**6, description="asr: highest CER of a row against its transcript, points"
    )
    chrf: Number | None = Field(None, ge=0, le=100, description="nmt: lowest chrF of a row against its reference")


class Relabelled(Section):
    """Another corpus with one side rewritten by a model: pseudo-labels, distillation, back-translation."""

    source: Literal["relabelled"] = Field(description="another corpus with one side written by a model of the graph")
    corpus: Name = Field(description="the corpus that is relabelled")
    by: Texts = Field(
        min_length=1,
        description="NODE, NODE/best, NODE/RUN of the experiment that trains on this, or EXPERIMENT/NODE[/RUN]; several "
        "models are an ensemble",
    )
    side: Literal["target", "source"] = Field(
        "target",
        description="what the model writes: target (transcripts; translations), or nmt: source (back-translation)",
    )
    tag: Text | None = Field(None, pattern=r"^\S+$", description="nmt: a word put before each source, such as <BT>")
    decoding: Decoding | None = Field(None, description="overrides the decoding of the models' experiment, key by key")
    keep: Keep = Field(default_factory=Keep, description="filters of rows; default: keep all rows with text")
    normaliser: Text | None = Field(None, description="applied to the model's text; default: that of `corpus`")
    min_characters: Integer = Field(1, ge=1, le=10**9, description="shorter texts of the model are left out")
    max_characters: Integer | None = Field(None, ge=1, le=10**9, description="longer texts of the model are left out")
    max_ratio: Number | None = Field(None, gt=1, le=10**6, description="nmt: longer over shorter side, in characters")
