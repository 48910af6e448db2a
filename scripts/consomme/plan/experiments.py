"""Checks of experiments and corpora against the task, before any job starts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

from consomme.common import normalisers
from consomme.common.digest import digest
from consomme.common.errors import ConsommeError
from consomme.common.languages import base, unspaced
from consomme.data.sources import TABLE as SOURCES
from consomme.data.sources.base import LANGUAGES, language_columns, named_languages
from consomme.evaluate.metrics import TABLE as METRICS
from consomme.evaluate.metrics import TERMS
from consomme.plan.problems import among, fail
from consomme.plan.schema import Corpus, Decoding


def metrics(task: str) -> list[str]:
    """The metrics of a task."""
    return [name for name, metric in METRICS.items() if task in metric.tasks]


def default_metrics(task: str, languages: Sequence[str]) -> list[str]:
    """Those that are reported if none is asked for, the main one first. languages: of the hypotheses."""
    if task == "nmt":
        return ["bleu", "chrf"]
    return ["cer", "wer"] if languages and all(map(unspaced, languages)) else ["wer", "cer"]


def treatment(names: Iterable[str], normaliser: str, languages: Sequence[str]) -> dict[str, Any]:
    """How metrics and normaliser treat languages, for digests; empty if they treat them like most languages."""
    one, cuts = len(languages) == 1, dict[str, str]()
    for name, language in product(sorted(names), languages):
        cut = METRICS[name].tokenizer
        if cut(language) != cut(""):
            cuts[name if one else f"{name} {language}"] = cut(language)
    own = [base(language) for language in languages if normalisers.by_language(normaliser, language)]
    found: dict[str, Any] = {"tokenizers": cuts} if cuts else {}
    return found | ({"normalised_as": own[0] if one else own} if own else {})


def decoding_digest(decoding: Decoding) -> str:
    """Eight hexadecimal digits for the names of hypotheses files."""
    return digest(decoding.model_dump(exclude_none=True), 8)


def check(task: str, languages: Sequence[str], metric: str, reported: list[str], normaliser: str, path: str) -> None:
    """ConfigurationError unless metric and normaliser exist and fit the task and the languages of the hypotheses."""
    check_metric(f"{path}.metric", metric, task, languages)
    for name in reported:
        among(f"{path}.metrics", name, [m for m in metrics(task) if m != "loss"], f"reported {task} metric")
        check_metric(f"{path}.metrics", name, task, languages)
    if metric not in (*reported, "loss"):
        fail(
            f"{path}.metrics", f"the experiment's metric '{metric}' is not among those reported: {', '.join(reported)}"
        )
    check_normaliser(f"{path}.normaliser", normaliser, languages)


def check_new(names: Iterable[str], path: str) -> None:
    """ConfigurationError where the name of a command's metric is taken."""
    for name in names:
        if name in METRICS or name in TERMS:
            fail(f"{path}.{name}", "there is a metric of that name already; give the command's scores another")


def check_metric(path: str, name: str, task: str, languages: Sequence[str]) -> None:
    """ConfigurationError unless there is such a metric for the task, and it can cut the languages' text here."""
    among(path, name, metrics(task), f"{task} metric")
    try:
        for language in languages:
            METRICS[name].tokenizer(language)
    except ConsommeError as error:
        fail(path, str(error))


def check_normaliser(path: str, names: str, languages: Sequence[str]) -> None:
    """ConfigurationError unless there are such normalisers, and each has these languages."""
    for name in normalisers.words(names):
        among(path, name, normalisers.TABLE, "normaliser")
        for language in languages:
            if problem := normalisers.TABLE[name].unfit(language):
                fail(path, problem)


def check_corpus(corpus: Corpus, task: str, languages: Sequence[str], path: str) -> None:
    """ConfigurationError unless the source fits the task, and the normaliser the corpus's languages, which must be known.
    languages: the default."""
    check_normaliser(f"{path}.normaliser", corpus.normaliser, named_languages(corpus.model_dump(), task) or languages)
    if unfit := SOURCES[corpus.source].unfit(corpus.model_dump(by_alias=True), task):
        fail(f"{path}.{unfit[0]}", unfit[1])
    if corpus.parts and (why := SOURCES[corpus.source].indivisible(corpus.model_dump(by_alias=True), task)):
        fail(f"{path}.parts", why)
    _languages(corpus, task, languages, path)
    if corpus.missing == "source" and task != "nmt":
        fail(f"{path}.missing", "what recordings can lack is their transcripts: target")
    if corpus.join and task != "asr":
        fail(f"{path}.join", "joins recordings, and the experiment's task is nmt")
    if corpus.keep_audio == "in_place":
        source = SOURCES[corpus.source]
        if corpus.join:
            fail(f"{path}.keep_audio", "joined recordings lie nowhere in one piece; flac keeps them in half the space")
        if not source.in_place:
            able = ", ".join(name for name, other in SOURCES.items() if other.in_place)
            fail(
                f"{path}.keep_audio",
                f"'{source.name}' has no files that stay where they are; {able} have, and flac is for all",
            )
    if corpus.join and corpus.join.length[0] > corpus.join.length[1]:
        fail(f"{path}.join.length", f"fewest and most, in this order; given: {list(corpus.join.length)}")


def _languages(corpus: Corpus, task: str, default: Sequence[str], path: str) -> None:
    """ConfigurationError unless each row's languages are named once: by the corpus, by columns, or by the experiment."""
    wrong, right = ("languages", "language: CODE") if task == "asr" else ("language", "languages: [SOURCE, TARGET]")
    if getattr(corpus, wrong) is not None:
        fail(f"{path}.{wrong}", f"the experiment's task is {task}; write {right}")
    settings = corpus.model_dump()
    given, columns = named_languages(settings, task), language_columns(settings, task)
    if given and len(columns) == len(LANGUAGES[task]):
        named = ", ".join(columns)
        fail(
            path,
            f"the languages are given by {right.partition(':')[0]} and by columns ({named}); leave one of them out",
        )
    if not given and not default and len(columns) < len(LANGUAGES[task]):
        fail(
            path,
            f"the experiment names no languages, so the corpus must: {right}, or columns: {{{LANGUAGES[task][0]}: NAME}}",
        )
