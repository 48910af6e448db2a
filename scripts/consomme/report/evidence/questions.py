"""What is compared: the claims of the configuration, and what is explored beside them."""

from __future__ import annotations

from dataclasses import dataclass

from consomme.common.errors import ConsommeError, nearest
from consomme.report.lineage import ancestors, averages, named, node_of, root
from consomme.report.outcomes import Outcomes

EXPLORATORY = "exploratory"


@dataclass(frozen=True)
class Question:
    """A comparison to make."""

    claim: str
    model: str
    against: str
    set: str
    metric: str
    hypothesis: str = "beats"
    margin: float | None = None


def declared(outcomes: Outcomes) -> list[Question]:
    """The claims of the configuration. ConsommeError if a model, test set, metric or margin is missing."""
    names = {m["name"] for m in outcomes.models}
    sets = outcomes.sets("test")
    questions = []
    for number, claim in enumerate(outcomes.spec.get("claims", []), 1):
        for key in ("model", "against"):
            if claim[key] not in names:
                raise ConsommeError(
                    f"claims[{number}].{key}: no model is named '{claim[key]}'{nearest(claim[key], names)}; "
                    f"name one model: {', '.join(sorted(names)[:12])}"
                )
        if claim["on"] not in sets:
            raise ConsommeError(
                f"claims[{number}].on: no test set is named '{claim['on']}'{nearest(claim['on'], sets)}; "
                f"test sets: {', '.join(sets) or 'none'}"
            )
        metric = claim.get("metric") or outcomes.spec["metric"]
        if metric in outcomes.failed:
            continue
        if outcomes.metric(metric).needs != "hypotheses":
            raise ConsommeError(f"claims[{number}].metric: {metric} can't be counted from hypotheses; use another one")
        margin = claim.get("margin")
        if claim["hypothesis"] == "keeps" and margin is None:
            raise ConsommeError(
                f"claims[{number}]: `keeps` needs a margin, in {metric} points, for example margin: 0.5"
            )
        questions.append(
            Question(
                *(str(number), claim["model"], claim["against"], claim["on"], metric, claim["hypothesis"]),
                None if margin is None or claim["hypothesis"] == "beats" else float(margin),
            )
        )
    return questions


def exploratory(outcomes: Outcomes) -> list[Question]:
    """On every test set: every named model against its starting point and against the best runs that it was made of, and
    every average of a sweep's runs against the best of them."""
    metric = outcomes.metrics[0] if outcomes.metrics else None
    evaluated = {s.model for s in outcomes.sheets.values()}
    asked = {(q.model, q.against, q.set, q.metric) for q in declared(outcomes)}
    questions = []
    for name in named(outcomes):
        line = ancestors(outcomes, name)
        rivals = [root(outcomes, name), *(f"{node_of(outcomes, a)}/best" for a in line)]
        for rival in dict.fromkeys(r for r in rivals if r in evaluated and r != name):
            for test in outcomes.sets("test"):
                if metric and name in evaluated and (name, rival, test, metric) not in asked:
                    questions.append(Question(EXPLORATORY, name, rival, test, metric))
    asked |= {(q.model, q.against, q.set, q.metric) for q in questions}
    for name, rival in averages(outcomes).items():
        for test in outcomes.sets("test"):
            if metric and (name, rival, test, metric) not in asked:
                questions.append(Question(EXPLORATORY, name, rival, test, metric))
    return questions
