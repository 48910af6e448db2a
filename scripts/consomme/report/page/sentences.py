"""Sentences of the test sets with what every model said, so that the page can compare any two models.

A page has room for a part of large sets: the rows on which models differ most. A row that is left out differs between any
two models by at most as much as the last row that is there, so no large change is missed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from consomme.common.languages import unspaced
from consomme.common.normalisers import normaliser_named
from consomme.report.numbers import metric_title
from consomme.report.outcomes import Outcomes, Sheet, read_hypotheses
from consomme.report.page.alignment import alignment
from consomme.report.page.audio import BYTES as AUDIO
from consomme.report.page.audio import Clips

BYTES = 2 << 20  # of text on the page, over all test sets


def sentences(outcomes: Outcomes, metric: str, first: str, last: str) -> dict[str, Any]:
    """The sentences in the first replicate, most different first; empty without a set on which models differ. first, last:
    the models that the page compares at the start.

    sets: name, n (rows of the set) and rows, each with its id, reference, source (nmt), clip (speech: a data URL, where
    there is room), weight, language's way of cutting, texts and said. A text is [what was said, its alignment with the
    reference, its value in the metric]; said: the text of each model by number, -1 where there is none."""
    # sentence BLEU is mostly 0, because a 4-gram is missing; chrF can rank sentences
    judged = "chrf" if metric.startswith("bleu") else metric
    models = list(dict.fromkeys(m["name"] for m in outcomes.models))
    replicate, names, found = outcomes.replicates[0], outcomes.sets("test"), []
    for name in names:
        sheets = [outcomes.sheets.get((model, replicate, "test", name)) for model in models]
        rows = _rows(outcomes, sheets, judged, BYTES // len(names), AUDIO // len(names))
        if rows:
            found.append({"name": name, "n": next(filter(None, sheets)).n, "rows": rows})
    heard = {i for group in found for row in group["rows"] for i, text in enumerate(row["said"]) if text >= 0}
    if not found or len(heard) < 2:
        return {}
    return {
        "metric": metric_title(judged),
        "sign": int(outcomes.sign(judged)),
        "models": models,
        "scored": sorted(heard),
        "first": models.index(first),
        "last": models.index(last),
        "sets": found,
    }


def _rows(
    outcomes: Outcomes, sheets: Sequence[Sheet | None], judged: str, room: int, room_for_audio: int
) -> list[dict[str, Any]]:
    """The rows of one test set that fit into `room` bytes. sheets: of each model."""
    there = [(i, s) for i, s in enumerate(sheets) if s is not None]
    there = [(i, s) for i, s in there if s.rows == there[0][1].rows]
    if len(there) < 2:
        return []
    sheet, record = there[0][1], outcomes.metric(judged)
    ids, references, _ = read_hypotheses(sheet.path)
    values = np.stack([record.value(outcomes.statistics(s, judged)) for _, s in there])
    weights = np.ones(len(ids))
    if not record.higher_is_better:  # the error rate of a short utterance is unreliable: rank by errors
        weights = np.array([max(1, len(r.split())) for r in references], dtype=float)
    spread = np.ptp(values, axis=0) * weights
    # parsed when a row is taken: of a large set few are
    lines = [s.path.read_bytes().split(b"\n") for _, s in there]
    languages = outcomes.languages(sheet)
    rows = outcomes.rows(sheet.corpora)
    clips = Clips(rows, room_for_audio) if outcomes.spec["task"] == "asr" else None
    taken: list[dict[str, Any]] = []
    for i in np.argsort(-spread, kind="stable"):
        if spread[i] <= 0:
            break
        language = languages[i] if len(languages) > 1 else "".join(languages)
        apart, clean = unspaced(language), _word(outcomes.normaliser, language)
        reference = " ".join(references[i].split())
        # who said it first, of all that was said
        who = {found[i]: m for m, found in reversed(list(enumerate(lines)))}
        texts = []
        for line, m in who.items():
            said = " ".join(json.loads(line)["hypothesis"].split())
            steps = alignment(_cut(reference, apart), _cut(said, apart), clean)
            texts.append([said, steps, round(float(values[m, i]), 1)])
        number, own = {line: k for k, line in enumerate(who)}, [-1] * len(sheets)
        for (model, _), found in zip(there, lines, strict=True):
            own[model] = number[found[i]]
        row = {"id": ids[i], "reference": reference, "weight": float(weights[i]), "texts": texts, "said": own}
        row |= {"apart": True} if apart else {}
        row |= {"source": rows.source(int(i))} if outcomes.spec["task"] == "nmt" else {}
        room -= len(json.dumps(row, ensure_ascii=False).encode())
        if room < 0:
            break
        taken.append(row | (clips.next(int(i)) if clips else {}))
    return taken


def _cut(text: str, apart: bool) -> list[str]:
    """The words of a text, or its characters in languages without spaces."""
    return list(text) if apart else text.split()


@cache
def _word(normaliser: str, language: str) -> Callable[[str], str]:
    """What a word counts as."""
    clean = normaliser_named(normaliser, language)
    return cache(lambda word: "".join(clean(word).split()))
