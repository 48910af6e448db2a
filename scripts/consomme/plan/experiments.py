"""Checks of experiments and corpora against the task, before any job starts."""

from __future__ import annotations

from consomme.common.digest import digest
from consomme.common.normalisers import TABLE as NORMALISERS
from consomme.data.sources import TABLE as SOURCES
from consomme.evaluate.metrics import TABLE as METRICS
from consomme.plan.problems import among, fail
from consomme.plan.schema import Corpus, Decoding, Experiment

METRICS_BY_TASK = {"asr": ["wer", "cer"], "nmt": ["bleu", "chrf"]}


def metrics(task: str) -> list[str]:
    """The metrics of a task."""
    return [name for name, metric in METRICS.items() if task in metric.tasks]


def decoding_digest(decoding: Decoding) -> str:
    """Eight hexadecimal digits for the names of hypotheses files."""
    return digest(decoding.model_dump(exclude_none=True), 8)


def check(experiment: Experiment, metric: str, reported: list[str], normaliser: str, path: str) -> None:
    """ConfigurationError unless metric and normaliser exist and fit the task."""
    allowed = metrics(experiment.task)
    among(f"{path}.metric", metric, allowed, f"{experiment.task} metric")
    for name in reported:
        among(f"{path}.metrics", name, [m for m in allowed if m != "loss"], f"reported {experiment.task} metric")
    if metric not in (*reported, "loss"):
        fail(
            f"{path}.metrics", f"the experiment's metric '{metric}' is not among those reported: {', '.join(reported)}"
        )
    among(f"{path}.normaliser", normaliser, NORMALISERS, "normaliser")


def check_corpus(corpus: Corpus, task: str, path: str) -> None:
    """ConfigurationError unless the source fits the task."""
    among(f"{path}.normaliser", corpus.normaliser, NORMALISERS, "normaliser")
    if unfit := SOURCES[corpus.source].unfit(corpus.model_dump(by_alias=True), task):
        fail(f"{path}.{unfit[0]}", unfit[1])
    if corpus.missing == "source" and task != "nmt":
        fail(f"{path}.missing", "what recordings can lack is their transcripts: target")
    if corpus.join and task != "asr":
        fail(f"{path}.join", "joins recordings, and the experiment's task is nmt")
    if corpus.join and corpus.join.length[0] > corpus.join.length[1]:
        fail(f"{path}.join.length", f"fewest and most, in this order; given: {list(corpus.join.length)}")
