"""Experiments, their claims, and the whole."""

from __future__ import annotations

import shlex
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SkipValidation, field_validator, model_validator

from consomme.common.evidence import KINDS
from consomme.common.settings import Language, Name, Section
from consomme.common.values import Integer, Local, Number, Text, Texts
from consomme.plan.schema.augmentation import Augment
from consomme.plan.schema.averaging import AverageNode
from consomme.plan.schema.choice import Decoding
from consomme.plan.schema.corpora import NORMALISERS, Corpus, Data, Relabelled
from consomme.plan.schema.exporting import ExportNode
from consomme.plan.schema.node import Node
from consomme.plan.schema.pruning import PruneNode
from consomme.plan.schema.starting import FromNode
from consomme.plan.schema.training import TrainNode

VERBS: dict[str, type[Node]] = {
    "from": FromNode,
    "train": TrainNode,
    "average": AverageNode,
    "prune": PruneNode,
    "export": ExportNode,
}


class Claim(Section):
    """A comparison declared before the run."""

    model: Text = Field(description="the model that the claim is about")
    beats: Text | None = Field(None, description="the model that should be worse")
    keeps: Text | None = Field(None, description="the model whose quality should be kept")
    on: Text = Field(description="a test set")
    metric: Text | None = Field(None, description="default: the experiment's")
    margin: Number | None = Field(None, ge=0, le=1000, description="for keeps: points that may be lost")

    @model_validator(mode="after")
    def _one(self) -> Claim:
        if (self.beats is None) == (self.keeps is None):
            raise ValueError("a claim has one of beats, keeps")
        if (self.margin is None) != (self.keeps is None):
            raise ValueError("a claim with keeps, and only that, has a margin")
        return self


class Scorer(Section):
    """A program that scores rows. It gets a line of JSON a row, {id, source, reference, hypothesis}, and writes a number a line."""

    command: Annotated[
        list[Text],
        Field(min_length=1),
        BeforeValidator(
            lambda given: shlex.split(given) if isinstance(given, str) else given,
            json_schema_input_type=str | list[str],
        ),
    ] = Field(description="the program and its arguments, as a list or a line; it is started without a shell")
    lower: bool = Field(False, description="lower scores are better")


Seed = Annotated[Integer, Field(ge=0)]
Unit = Literal["recording", "document", "speaker"]


class Experiment(Section):
    """One task, its corpora, a graph of models, its claims."""

    task: Literal["asr", "nmt"] = Field(description="speech recognition (asr) or translation (nmt)")
    languages: list[Language] | None = Field(
        None,
        min_length=1,
        max_length=2,
        description="asr: [spoken]; nmt: [source, target]; of all corpora that name no languages of their own",
    )
    metric: Text | None = Field(
        None,
        description="default: wer for asr (cer for languages that are written without spaces), bleu for nmt; wer counts "
        "characters in languages without spaces, wer-words does not; bleu has the language's tokenizer, bleu-13a, bleu-intl, "
        "bleu-char and bleu-flores200 have their own",
    )
    metrics: dict[Text, Scorer | None] | None = Field(
        None,
        description="all reported metrics, a list; default: wer, cer or bleu, chrf. Or a mapping, in which name: {command: ...} is "
        "a metric of another program; where it names no others, the default ones are reported, too",
    )
    normaliser: Text | None = Field(
        None,
        description=f"applied to references and hypotheses before scoring: {NORMALISERS}; default: basic for asr, verbatim for "
        "nmt; BLEU and chrF score raw text. whisper-basic puts spaces for combining marks, so that words of Indic and other "
        "scripts fall to pieces and their vowel signs don't count",
    )
    repeat: list[Seed] | dict[Seed, dict[Name, Text]] = Field(
        default_factory=lambda: [1],
        max_length=100,
        description="replicates: seeds, or seed: {variable: value}; {variable} in a corpus name of `data` is filled in",
    )
    units: Unit | dict[Name, Unit] = Field(
        KINDS[-1],
        description="what is independent in the report's tests, and so whom claims speak of; for all sets, or test set: unit, "
        "the others by speaker. speaker: other speakers; rows that share a speaker, a document or a recording are one unit, "
        "where these are known. document: other documents, of these speakers if they have spoken more than one. recording: "
        "other recordings, of these documents and speakers",
    )
    data: Data = Field(description="training, development and test data")
    augment: Augment | None = Field(
        None, description="augmentation of the training data on the fly, for all nodes without their own"
    )
    decoding: Decoding = Field(default_factory=Decoding, description="how hypotheses are made")
    sealed: list[Name] | None = Field(
        None,
        min_length=1,
        description="test sets that no ordinary run decodes; `consomme unseal` decodes them once, for the models that their "
        "claims name",
    )
    models: Annotated[
        dict[Name, SkipValidation[FromNode | TrainNode | AverageNode | PruneNode | ExportNode]], Field(min_length=1)
    ] = Field(description="name: node; each has one verb (from, train, average, prune, export)")
    rare_words: Integer | None = Field(
        None,
        ge=0,
        le=10**9,
        description="report the recall of words that occur at most this often in the training texts of the experiment",
    )
    glossary: Local | None = Field(
        None, description="a file with a term a line, in the language that is written: report their recall"
    )
    by: Texts = Field(
        default_factory=list,
        description="columns of the test sets' tables, such as [age, gender, snr]: errors are reported for each of their values, "
        "of numbers with more than 12 values for each quarter; speaker and language are reported where they are known",
    )
    other_ways: list[Text] | None = Field(
        None,
        description="the models that are decoded in other ways, too (full window, previous text, timestamps), such as [soup, "
        "tuned/best]; a sweep's name means all its runs; [] for none; default: all but the runs of a sweep",
    )
    claims: list[Claim] = Field(
        default_factory=list, description="comparisons declared before the run; Holm's correction runs over all of them"
    )

    @field_validator("metrics", mode="before", json_schema_input_type=list[str] | dict[str, Scorer | None] | None)
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return (
            dict.fromkeys(value)
            if isinstance(value, list) and not any(isinstance(v, dict | list) for v in value)
            else value
        )

    @model_validator(mode="after")
    def _two_languages(self) -> Experiment:
        if self.languages is not None and len(self.languages) != (2 if self.task == "nmt" else 1):
            wanted = "two languages, such as [en, fr]" if self.task == "nmt" else "one language, such as [en]"
            raise ValueError(f"languages: {self.task} needs {wanted}")
        return self


class Configuration(Section):
    """A whole configuration."""

    data_root: Local = Field(
        ".", description="folder that relative paths of corpora start from; relative to the working directory"
    )
    corpora: dict[Name, SkipValidation[Corpus | Relabelled]] = Field(default_factory=dict, description="name: corpus")
    experiments: dict[Name, SkipValidation[Experiment]] = Field(
        min_length=1, description="name: experiment; at least one"
    )
