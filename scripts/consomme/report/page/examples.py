"""The sentences that changed most between two models."""

from __future__ import annotations

import difflib
import html
from typing import Any

import numpy as np

from consomme.report.numbers import metric_title, signed
from consomme.report.outcomes import Outcomes, read_hypotheses

EXAMPLES = 10  # of each kind


def examples(outcomes: Outcomes, first: str, last: str, metric: str) -> list[dict[str, Any]]:
    """By test set, the sentences that got worst and best from model `first` to model `last`, in the first replicate."""
    replicate = outcomes.replicates[0]
    # sentence BLEU is mostly 0, because a 4-gram is missing; chrF can rank sentences
    judged = "chrf" if metric.startswith("bleu") else metric
    record, sign = outcomes.metric(judged), outcomes.sign(judged)
    groups = []
    for name in outcomes.sets("test"):
        key = (replicate, "test", name)
        if (first, *key) not in outcomes.sheets or (last, *key) not in outcomes.sheets:
            continue
        before, after = outcomes.sheets[first, *key], outcomes.sheets[last, *key]
        gain = sign * (
            record.value(outcomes.statistics(after, judged)) - record.value(outcomes.statistics(before, judged))
        )
        ids, references, old = read_hypotheses(before.path)
        _, _, new = read_hypotheses(after.path)
        weight = np.ones(len(ids))
        if not record.higher_is_better:  # the error rate of a short utterance is unreliable: rank by errors
            weight = np.array([max(1, len(r.split())) for r in references], dtype=float)
        order = sorted(range(len(ids)), key=lambda i: (gain[i] * weight[i], i))
        rows = outcomes.rows(before.corpora) if outcomes.spec["task"] == "nmt" else None
        for title, chosen in (
            (f"{name}: got worse", [i for i in order[:EXAMPLES] if gain[i] < 0]),
            (f"{name}: got better", [i for i in order[::-1][:EXAMPLES] if gain[i] > 0]),
        ):
            sentences = [
                {
                    "id": ids[i],
                    "change": f"{signed(float(gain[i]), 1)} {metric_title(judged)}",
                    "source": rows.source(i) if rows is not None else "",
                    "reference": references[i],
                    "before": marked(old[i], references[i]),
                    "after": marked(new[i], references[i]),
                }
                for i in chosen
            ]
            if sentences:
                groups.append({"title": title, "sentences": sentences})
    return groups


def marked(hypothesis: str, reference: str) -> str:
    """The hypothesis as HTML, with a mark on words that differ from the aligned reference."""
    said, wanted = hypothesis.split(), reference.split()
    parts = []
    for kind, a, b, _, _ in difflib.SequenceMatcher(None, said, wanted, autojunk=False).get_opcodes():
        words = html.escape(" ".join(said[a:b]))
        if words:
            parts.append(words if kind == "equal" else f"<mark>{words}</mark>")
    return " ".join(parts) or "<i>nothing</i>"
