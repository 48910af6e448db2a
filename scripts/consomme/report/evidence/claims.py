"""The declared claims, tested on the test sets, and exploratory comparisons.

`beats`: a difference in the declared direction with a Holm-adjusted two-sided randomisation p under 0.05.
`keeps`: the loss is smaller than the margin, by a one-sided bootstrap test of non-inferiority, Holm-adjusted as well.
Differences are oriented: positive means that `model` is better than `against`, whichever way the metric runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from consomme.common.errors import ConsommeError, nearest
from consomme.report.evidence import bootstrap
from consomme.report.evidence.bootstrap import Stratum
from consomme.report.evidence.holm import holm
from consomme.report.evidence.randomisation import TRIALS, randomisation
from consomme.report.lineage import ancestors, averages, named, node_of, root
from consomme.report.outcomes import Outcomes

LEVEL = 0.05
FEW = 20
EXPLORATORY = "exploratory"


@dataclass(frozen=True)
class Comparison:
    """One model against another on one test set."""

    # number among the declared claims, from 1, or "exploratory"
    claim: str
    model: str
    against: str
    replicates: int
    split: str
    set: str
    decoding: str
    metric: str
    hypothesis: str
    margin: float | None
    difference: float
    ci_low: float
    ci_high: float
    p: float
    p_holm: float | None
    method: str
    # (replicate, difference)
    by_replicate: tuple[tuple[str, float], ...]
    # resampling units over all strata
    units: int
    # the smallest difference detected with a power of 80 %
    detectable: float
    # whether all replicates were tested on the same rows
    joint: bool
    # the metric's exact version and options
    signature: str = ""

    @property
    def declared(self) -> bool:
        return self.claim != EXPLORATORY

    @property
    def few(self) -> bool:
        """Whether there are too few units for a reliable test."""
        return self.units < FEW

    @property
    def verdict(self) -> str:
        """`holds`, `open` (not shown), or `fails` (the opposite was shown)."""
        p = self.p if self.p_holm is None else self.p_holm
        if self.hypothesis == "beats":
            if p < LEVEL and self.difference != 0:
                return "holds" if self.difference > 0 else "fails"
            return "open"
        if p < LEVEL:
            return "holds"
        return "fails" if self.ci_high < -(self.margin or 0.0) else "open"


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


def compare(outcomes: Outcomes, questions: Sequence[Question]) -> list[Comparison]:
    """The comparisons of the questions, in their order. Holm's correction covers the declared ones."""
    batches: dict[tuple[str, str, tuple[str, ...]], list[int]] = defaultdict(list)
    for index, question in enumerate(questions):
        batches[question.set, question.metric, _tested(outcomes, question)].append(index)
    answers: dict[int, Comparison] = {}
    for (_, metric, replicates), indices in batches.items():
        # a bounded number of comparisons at a time, because their randomised sums are in memory together
        for start in range(0, len(indices), 16):
            part = indices[start : start + 16]
            answers.update(zip(part, _answer(outcomes, [questions[i] for i in part], metric, replicates), strict=True))
    found = [answers[i] for i in range(len(questions))]
    claims = [i for i, c in enumerate(found) if c.declared]
    for index, adjusted in zip(claims, holm([found[i].p for i in claims]), strict=True):
        found[index] = replace(found[index], p_holm=adjusted)
    return found


def _tested(outcomes: Outcomes, question: Question) -> tuple[str, ...]:
    """The replicates that were tested. ConsommeError if the two models decoded different rows."""
    found = []
    for replicate in outcomes.replicates:
        if question.set not in outcomes.spec["sets"][replicate].get("test", {}):
            continue
        first = outcomes.sheet(question.model, replicate, "test", question.set)
        second = outcomes.sheet(question.against, replicate, "test", question.set)
        if first.rows != second.rows:
            raise ConsommeError(
                f"replicate {replicate}: {question.model} and {question.against} answered different rows of the test "
                f"set '{question.set}'; evaluate both again"
            )
        found.append(replicate)
    return tuple(found)


def _strata(outcomes: Outcomes, questions: Sequence[Question], metric: str, replicates: Sequence[str]) -> list[Stratum]:
    """The units of a test set, grouped by the replicates that were tested on them. Replicates may share all rows, some
    (rotated speakers), or none, and a document may have different rows in each."""
    test = questions[0].set
    units = outcomes.units_together([outcomes.sheet(questions[0].model, r, "test", test) for r in replicates])
    present = [np.unique(numbers) for numbers in units]
    places: dict[int, list[int]] = defaultdict(list)
    for place, found in enumerate(present):
        for unit in found.tolist():
            places[unit].append(place)
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for unit, among in places.items():
        groups[tuple(among)].append(unit)

    def sums(name: str, place: int, wanted: Sequence[int]) -> np.ndarray:
        sheet = outcomes.sheet(name, replicates[place], "test", test)
        return outcomes.sums(sheet, metric, units[place])[np.searchsorted(present[place], wanted)]

    def of(names: Sequence[str], among: tuple[int, ...], wanted: Sequence[int]) -> np.ndarray:
        return np.stack([np.stack([sums(name, place, wanted) for place in among]) for name in names])

    return [
        Stratum(
            of([q.model for q in questions], among, wanted), of([q.against for q in questions], among, wanted), among
        )
        for among, wanted in groups.items()
    ]


def _answer(
    outcomes: Outcomes, questions: Sequence[Question], metric: str, replicates: Sequence[str]
) -> list[Comparison]:
    value, sign = outcomes.metric(metric).value, outcomes.sign(metric)
    strata = _strata(outcomes, questions, metric, replicates)
    observed = bootstrap.differences(strata, value, sign)
    resampled = bootstrap.resampled_differences(strata, value, sign)
    low, high = bootstrap.interval(resampled)
    smallest = bootstrap.detectable(resampled)
    beats = any(q.hypothesis == "beats" for q in questions)
    p_beats = randomisation(strata, value) if beats else np.full(len(questions), np.nan)
    units, joint = sum(s.units for s in strata), len(strata) == 1
    shared = "" if len(replicates) == 1 else ", replicates together" if joint else f", {len(strata)} strata"
    few = ", few units" if units < FEW else ""
    found = []
    for i, question in enumerate(questions):
        if question.hypothesis == "beats":
            p, method = p_beats[i], f"randomisation, {TRIALS} trials, {units} units{shared}{few}"
        else:
            assert question.margin is not None  # `keeps` has a margin, as checked in declared()
            p = bootstrap.non_inferiority(resampled[i], question.margin, units)
            method = f"bootstrap, {bootstrap.RESAMPLES} resamples, {units} units{shared}{few}"
        sheet = outcomes.sheet(question.model, replicates[0], "test", question.set)
        found.append(
            Comparison(
                claim=question.claim,
                model=question.model,
                against=question.against,
                replicates=len(replicates),
                split="test",
                set=question.set,
                decoding=sheet.decoding,
                metric=metric,
                hypothesis=question.hypothesis,
                margin=question.margin,
                difference=float(observed[i].mean()),
                ci_low=float(low[i]),
                ci_high=float(high[i]),
                p=float(p),
                p_holm=None,
                method=method,
                by_replicate=tuple(sorted(zip(replicates, map(float, observed[i]), strict=True))),
                units=units,
                detectable=float(smallest[i]),
                joint=joint,
                signature=outcomes.signature(metric, sheet),
            )
        )
    return found
