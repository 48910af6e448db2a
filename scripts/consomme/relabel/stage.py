"""The relabel stage: a prepared corpus and a model → a prepared corpus, one side of which the model has written.

Pseudo-labels for speech; translations of the training sources for sequence-level distillation (Kim and Rush 2016, arXiv
1606.07947); back-translations of target sentences (Sennrich et al. 2016, arXiv 1511.06709), perhaps tagged (Caswell et
al. 2019, arXiv 1906.06442)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from consomme.common.errors import ConsommeError
from consomme.common.files import link_file, read_json, write_json
from consomme.common.job import Job
from consomme.common.log import say
from consomme.common.provenance import model_content, weights_hash
from consomme.common.stage import build_once
from consomme.data.check import Texts
from consomme.data.prepare import Skipped
from consomme.data.prepared import AUDIO, MADE, VERSION, Corpus, Rows, Writer, schema_of
from consomme.data.sources.base import LANGUAGES
from consomme.evaluate.evaluator import Evaluator
from consomme.evaluate.identity import processor_key
from consomme.evaluate.left_out import share
from consomme.evaluate.metrics import counted_for, metric_named
from consomme.relabel.keep import Problem, sift

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CHUNK = 2048  # rows whose labels are stored together; a killed job loses at most one chunk


def run(job: Job) -> None:
    """Make a prepared corpus at `job.out` of one prepared corpus and the models that label it (several: an ensemble).

    Labels are cached by content, chunk by chunk: a killed job goes on where it was, and a change of which rows are kept
    needs no new decoding."""
    ((_, source),) = job.labelled("corpus").items()
    models = job.labelled("model")
    key = {
        "stage": "relabel",
        "version": [VERSION, job.spec["version"]],
        "digest": job.spec["digest"],
        "corpus": read_json(source / "prepared.json")["fingerprint"],
        "models": [model_content(folder) for folder in models.values()],
    }
    build_once(job, key, lambda folder, work: build(job, folder))


def build(job: Job, folder: Path) -> None:
    """Fill the empty `folder` with the relabelled corpus."""
    ((_, source),) = job.labelled("corpus").items()
    corpus, settings, name = Corpus.open(source), job.spec["settings"], job.spec["name"]
    rows = Rows([corpus])
    side, keep = settings["side"], settings["keep"]
    asked = rows.swapped() if side == "source" else rows
    said, confidence, cut = labels(job, asked)
    written = asked.written(job.spec["languages"])
    made, problems = _stored(rows, said, settings, written)
    references: Sequence[str] = []  # a corpus without that side has nothing to compare with
    if corpus.about.get("missing") != side:
        references = rows.targets if side == "target" else rows.untagged
    normaliser = job.spec.get("normaliser", "verbatim")
    scores = {
        metric: _values(metric, references, said, normaliser, written)
        for metric in keep
        if metric not in ("confidence", "share")
    }
    skipped, kept = Skipped(), []
    for i, problem in enumerate(sift(problems, confidence, scores, keep)):
        if problem:
            skipped.add(rows.ids[i], *problem)
        else:
            kept.append(i)
    counts = skipped.counts()
    left_out = ", ".join(f"{n} {reason}" for reason, n in counts.items())
    if not kept:
        if set(counts) == {"no text"}:
            raise ConsommeError(
                f"corpus '{name}': the model writes nothing for any of its {len(rows)} rows; is it trained, and made for "
                "such data? Look at its own hypotheses and scores"
            )
        low, middle, high = np.quantile(confidence, [0, 0.5, 1])
        raise ConsommeError(
            f"corpus '{name}': of {len(rows)} rows none is left ({left_out}); confidence is between {low:.4f} and "
            f"{high:.4f}, {middle:.4f} in the middle. Change keep, or the model that labels"
        )
    writer = _write(folder, corpus, rows, made, confidence, kept, settings)
    skipped.write(folder / "skipped.tsv")
    quality = {}
    for metric in counted_for(corpus.about["task"], written) if references else []:
        counted = metric.of_rows(references, said, normaliser, written)
        quality[metric.name] = {
            which: round(float(metric.value(counted[chosen].sum(axis=0))), 4)
            for which, chosen in (("all", slice(None)), ("kept", kept))
        }
    about = {
        "task": corpus.about["task"],
        "name": name,
        "fingerprint": writer.fingerprint(corpus.about.get("sampling_rate"), corpus.about.get("languages") or ()),
        "rows": writer.rows,
        "seconds": round(writer.seconds, 3),
        "read": len(rows),
        "skipped": counts,
        "version": VERSION,
        "relabelled": {
            "corpus": corpus.name,
            "by": [{"name": n, "weights": weights_hash(path)} for n, path in job.labelled("model").items()],
            "side": side,
            "keep": keep,
            "decoding": job.spec["decoding"],
            "confidence": round(float(confidence[kept].mean()), 6),
            "quality": quality,
        },
    }
    if "languages" in corpus.about:
        about["languages"] = corpus.about["languages"]
    if corpus.about["task"] == "asr":
        whose = corpus.audio or corpus
        about["sampling_rate"] = corpus.about["sampling_rate"]
        about["audio"] = {"name": whose.name, "fingerprint": whose.about["fingerprint"]}
        # the same bytes under another name, where the file system can: they stay whatever becomes of the first
        link_file(source / (AUDIO if corpus.audio else "rows.arrow"), folder / AUDIO)
    if tag := " ".join(filter(None, [settings["tag"], corpus.about.get("tag") if side == "target" else None])):
        about["tag"] = tag
    write_json(folder / "prepared.json", about)
    against = "".join(f"; {m} {v['kept']:.2f} against the reference, {v['all']:.2f} of all" for m, v in quality.items())
    say(
        f"corpus '{name}': {writer.rows} of {len(rows)} rows kept, mean confidence {confidence[kept].mean():.4f}{against}"
        + (f"; left out: {left_out}" if left_out else "")
        + (f"; {share(cut, len(rows))} of all cut at the most tokens that were allowed" if cut else "")
    )


def labels(job: Job, rows: Rows) -> tuple[list[str], np.ndarray, int]:
    """What the job's models, as one, say to each row, raw, how sure they are [rows], and how many rows were cut at the most
    tokens allowed: see `Evaluator.labels`."""
    import torch

    torch.set_num_threads(job.threads)
    folders = list(job.labelled("model").values())
    chunks = dict(_chunks(rows))
    evaluator = Evaluator.open(job, chunks, folders[0])
    model = _one(folders, evaluator.device)
    said: list[str] = [""] * len(rows)
    confidence, done, cut = np.zeros(len(rows)), 0, 0
    places = dict(_places(rows))
    for name in chunks:
        began = time.monotonic()
        for i, label in zip(places[name], evaluator.labels(model, name), strict=True):
            said[i], confidence[i] = label.text, label.confidence
            cut += label.cut
        done += len(places[name])
        say(f"{done} of {len(rows)} rows labelled ({time.monotonic() - began:.1f} s)")
    return said, confidence, cut


def _one(folders: list[Path], device: str) -> PreTrainedModel:
    """The model, or the ensemble of all of them."""
    from consomme.families import load
    from consomme.families.ensemble import ensemble

    keys = {folder: processor_key(folder) for folder in folders}
    for folder, key in keys.items():
        if key != keys[folders[0]]:
            raise ConsommeError(
                f"an ensemble needs models with one processor or tokenizer; those of {folders[0]} and {folder} differ"
            )
    return ensemble([load(folder, device) for folder in folders])


def _places(rows: Rows) -> Iterator[tuple[str, np.ndarray]]:
    """Rows that are labelled together, by a name, longest first."""
    order = np.argsort(-np.asarray(rows.lengths), kind="stable")
    for start in range(0, len(order), CHUNK):
        yield f"rows {start + 1} to {min(start + CHUNK, len(order))}", order[start : start + CHUNK]


def _chunks(rows: Rows) -> Iterator[tuple[str, Rows]]:
    return ((name, rows.select(places)) for name, places in _places(rows))


def _stored(
    rows: Rows, said: list[str], settings: Mapping[str, Any], written: list[str]
) -> tuple[list[str], list[Problem | None]]:
    """The model's texts as they are stored, and what is wrong with any of them. written: their languages."""
    text, ratio = Texts(settings), settings.get("max_ratio")
    made, problems = zip(*map(text, said, written), strict=True)
    found = list(problems)
    if ratio is not None:
        others = rows.untagged if settings["side"] == "target" else rows.targets
        for i, pair in enumerate(zip(made, others, strict=True)):
            longer, shorter = max(map(len, pair)), min(map(len, pair))
            if found[i] is None and longer > ratio * shorter:
                found[i] = "ratio", f"{longer / max(shorter, 1):.2f}"
    return list(made), found


def _values(metric: str, references: Sequence[str], said: list[str], normaliser: str, written: list[str]) -> np.ndarray:
    """The metric on each row alone, [rows], in points."""
    found = metric_named(metric)
    return np.asarray(found.value(found.of_rows(references, said, normaliser, written)), dtype=np.float64)


def _write(
    folder: Path,
    corpus: Corpus,
    rows: Rows,
    made: list[str],
    confidence: np.ndarray,
    kept: list[int],
    settings: Mapping[str, Any],
) -> Writer:
    """rows.arrow: the kept rows, in their old order, with the new text and how sure the model was of it."""
    task = corpus.about["task"]
    tag = f"{settings['tag']} " if settings["tag"] else ""
    by_column = LANGUAGES[task][0] in corpus.table.column_names
    schema = schema_of(task, languages=by_column, relabelled=True)
    columns = {n: corpus.column(n) for n in schema.names if n not in dict(MADE[task])}
    with Writer(folder / "rows.arrow", task, schema) as writer:
        for i in kept:
            row = {n: values[i] for n, values in columns.items()} | {"confidence": float(confidence[i])}
            if task == "asr":
                row |= {"text": made[i], "row": int(corpus.numbers[i]) if corpus.numbers is not None else i}
            elif settings["side"] == "target":
                row |= {"source": f"{tag}{rows.sources[i]}", "target": made[i]}
            else:
                row |= {"source": f"{tag}{made[i]}"}
            writer.add(row)
    return writer
