"""The declared claims, tested on the test sets, and exploratory comparisons.

`beats` asks whether the difference is above 0, `keeps` whether it is above -margin; positive differences mean that `model` is
better than `against`, whichever way the metric runs. Both are two-sided tests at that point, so that the opposite can be
shown as well, and Holm's adjustment covers both.

Each is asked twice. Of these models: would other test data say the same? Of the method: would other seeds (and whatever else
differs between replicates) say so, too? Three replicates are the least for the second."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from consomme.common.errors import ConsommeError
from consomme.common.evidence import FEW, LEVEL, REPLICATES
from consomme.report.evidence import crossed, student
from consomme.report.evidence.holm import holm
from consomme.report.evidence.paired import Floats, Pulls, Tested, count, differences, pulls_of
from consomme.report.evidence.questions import EXPLORATORY, Question
from consomme.report.evidence.randomisation import TRIALS, randomisation
from consomme.report.evidence.visible import Variances, foreseen, measurable, visible
from consomme.report.outcomes import Outcomes

DECISIVE = 0.01  # share of the units that is left out to see whether the verdict stays
_CELLS = 20_000_000  # numbers in memory together


@dataclass(frozen=True)
class Comparison:
    """One model against another on one test set."""

    # number among the declared claims, from 1, "exploratory", or "withdrawn" and a number
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
    # 95 %, over test data and, of several replicates, over these
    ci_low: float
    ci_high: float
    # of the method; None with fewer than three replicates, or if it isn't tested
    p: float | None
    p_holm: float | None
    # of these models: 95 % over test data alone; p is None if it isn't tested
    ci_models_low: float
    ci_models_high: float
    p_models: float | None
    p_models_holm: float | None
    method: str
    # (replicate, difference)
    by_replicate: tuple[tuple[str, float], ...]
    # independent units of all replicates together, and what they are
    units: int
    unit: str
    # the smallest difference seen with a power of 80 % after Holm's adjustment, of the method if it is tested, else of
    # these models; NaN, and the reason in words, if there is none
    visible: float
    unseen: str = ""
    # {replicates: what so many could show for the method}, as one knows from fewer
    foreseen: tuple[tuple[int, float], ...] = ()
    # why the claim isn't tested
    refused: str = ""
    # how many units turn the verdict if they are left out, 1 % of all; 0 if it stays
    decisive: int = 0
    # the metric's exact version and options
    signature: str = ""
    # a sentence about test rows that the models have seen, if they have
    seen: str = ""

    @property
    def declared(self) -> bool:
        return self.claim != EXPLORATORY

    @property
    def few(self) -> bool:
        """Whether there are too few units for a reliable test."""
        return self.units < FEW

    @property
    def gain(self) -> float:
        """The difference beyond the point that is tested."""
        return self.difference + (self.margin or 0.0)

    @property
    def verdict(self) -> str:
        """Of the method: `holds`, `open` (not shown), or `fails` (the opposite was shown)."""
        return _verdict(self.p if self.p_holm is None else self.p_holm, self.gain)

    @property
    def for_models(self) -> str:
        """The same of these models."""
        return _verdict(self.p_models if self.p_models_holm is None else self.p_models_holm, self.gain)

    @property
    def each(self) -> str:
        """The difference of each replicate, as text for a table."""
        return " ".join(f"{name}={value:.4f}" for name, value in self.by_replicate)


def _verdict(p: float | None, gain: float) -> str:
    if p is None or p >= LEVEL or gain == 0:
        return "open"
    return "holds" if gain > 0 else "fails"


def compare(outcomes: Outcomes, questions: Sequence[Question], untested: int = 0) -> list[Comparison]:
    """The comparisons of the questions, in their order. Holm's correction covers the declared ones, and so many claims that
    can't be tested."""
    claims = max(1, untested + sum(q.claim != EXPLORATORY for q in questions))
    batches: dict[tuple[str, str, tuple[str, ...]], list[int]] = defaultdict(list)
    for index, question in enumerate(questions):
        batches[question.set, question.metric, _tested(outcomes, question)].append(index)
    answers: dict[int, Comparison] = {}
    for (_, _, replicates), indices in batches.items():
        # a bounded number of comparisons at a time, because their sums are in memory together
        rows = sum(
            outcomes.sheet(questions[indices[0]].model, r, "test", questions[indices[0]].set).n for r in replicates
        )
        size = max(1, min(64, _CELLS // (rows * outcomes.metric(questions[indices[0]].metric).size)))
        for start in range(0, len(indices), size):
            part = indices[start : start + size]
            answers.update(zip(part, _answer(outcomes, [questions[i] for i in part], replicates, claims), strict=True))
    found = _adjusted([answers[i] for i in range(len(questions))], untested)
    return [
        replace(c, decisive=_decisive(outcomes, questions, found, i, untested)) if c.declared else c
        for i, c in enumerate(found)
    ]


def _adjusted(found: Sequence[Comparison], untested: int) -> list[Comparison]:
    """With Holm's adjustment of the declared ones: of the method, and of these models. What isn't tested counts."""
    found, claims = list(found), [i for i, c in enumerate(found) if c.declared]
    for key in ("p", "p_models"):
        given = [getattr(found[i], key) for i in claims]
        every = holm([*(1.0 if p is None else p for p in given), *[1.0] * untested])
        for i, p, adjusted in zip(claims, given, every[: len(given)], strict=True):
            found[i] = replace(found[i], **{f"{key}_holm": None if p is None else adjusted})
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


def paired(outcomes: Outcomes, questions: Sequence[Question], replicates: Sequence[str]) -> list[Tested]:
    """Both models' sums of all questions, which have one test set and one metric, in each replicate."""
    test, metric = questions[0].set, questions[0].metric
    units = outcomes.units_together([outcomes.sheet(questions[0].model, r, "test", test) for r in replicates])

    def sums(names: Sequence[str], replicate: str, own: np.ndarray) -> Floats:
        return np.stack([outcomes.sums(outcomes.sheet(name, replicate, "test", test), metric, own) for name in names])

    return [
        Tested(sums([q.model for q in questions], r, own), sums([q.against for q in questions], r, own), np.unique(own))
        for r, own in zip(replicates, units, strict=True)
    ]


@dataclass(frozen=True)
class _Tests:
    """What is known of some comparisons, an entry each."""

    differences: Floats  # [comparisons, replicates]
    pulls: Pulls
    ends: tuple[Floats, Floats]
    ends_models: tuple[Floats, Floats]
    p: Floats | None
    p_models: Floats


def _tests(outcomes: Outcomes, questions: Sequence[Question], tested: Sequence[Tested]) -> _Tests:
    metric = outcomes.metric(questions[0].metric)
    value, sign = metric.value, outcomes.sign(questions[0].metric)
    observed, pulls = differences(tested, value, sign), pulls_of(tested, value, sign)
    mean, drawn = observed.mean(1), student.bootstrap_t(pulls.mean)
    margins = np.array([q.margin or 0.0 for q in questions])
    beats = np.array([q.hypothesis == "beats" for q in questions])
    p_models = student.p_beyond(mean, pulls.mean, drawn, margins)
    if beats.any():
        some = [Tested(t.model[beats], t.against[beats], t.units) for t in tested]
        p_models[beats] = randomisation(some, value)
    ends = ends_models = student.wider(mean, pulls.mean, drawn)
    p = None
    if len(tested) > 1:
        ends = crossed.wider(observed, pulls, ends_models)
    if len(tested) >= REPLICATES:
        p = crossed.p_beyond(observed, pulls, p_models, margins)
    return _Tests(observed, pulls, ends, ends_models, p, p_models)


def _answer(
    outcomes: Outcomes, questions: Sequence[Question], replicates: Sequence[str], claims: int
) -> list[Comparison]:
    tested = paired(outcomes, questions, replicates)
    found, units = _tests(outcomes, questions, tested), count([t.units for t in tested])
    over_replicates = crossed.spread(found.differences) if len(replicates) > 1 else np.zeros(len(questions))
    first = outcomes.sheet(questions[0].model, replicates[0], "test", questions[0].set)
    unit = outcomes.unit([outcomes.sheet(questions[0].model, r, "test", questions[0].set) for r in replicates])
    answers = []
    for i, question in enumerate(questions):
        level = claims if question.claim != EXPLORATORY else 1
        refused = question.hypothesis == "keeps" and units < FEW
        p = None if found.p is None or refused else float(found.p[i])
        known = Variances(
            units, found.pulls.variance[i], found.pulls.shared[i], len(replicates), float(over_replicates[i])
        )
        unseen = f"fewer than {FEW} {unit}" if refused else measurable(known, level)
        answers.append(
            Comparison(
                claim=question.claim,
                model=question.model,
                against=question.against,
                replicates=len(replicates),
                split="test",
                set=question.set,
                decoding=first.decoding,
                metric=question.metric,
                hypothesis=question.hypothesis,
                margin=question.margin,
                difference=float(found.differences[i].mean()),
                ci_low=float(found.ends[0][i]),
                ci_high=float(found.ends[1][i]),
                p=p,
                p_holm=None,
                ci_models_low=float(found.ends_models[0][i]),
                ci_models_high=float(found.ends_models[1][i]),
                p_models=None if refused else float(found.p_models[i]),
                p_models_holm=None,
                method=_method(question.hypothesis, len(replicates), units, unit),
                by_replicate=tuple(zip(replicates, map(float, found.differences[i]), strict=True)),
                units=units,
                unit=unit,
                visible=float("nan") if unseen else visible(known, level),
                unseen=unseen,
                foreseen=tuple(foreseen(known, level).items()) if not unseen and len(replicates) < REPLICATES else (),
                refused=f"`keeps` needs {FEW} independent units, and the test set has {units} {unit}"
                if refused
                else "",
                signature=outcomes.signature(question.metric, first),
            )
        )
    return answers


def _method(hypothesis: str, replicates: int, units: int, unit: str) -> str:
    """The test, its resamples and units."""
    own = (
        f"randomisation, {TRIALS} trials"
        if hypothesis == "beats"
        else f"Student's and bootstrap t, {student.RESAMPLES} resamples"
    )
    few = ", few units" if units < FEW else ""
    crossing = f"; quasi-F and t over {replicates} replicates" if replicates >= REPLICATES else ""
    return f"{own}, {units} {unit}{few}{crossing}"


def _decisive(
    outcomes: Outcomes, questions: Sequence[Question], found: Sequence[Comparison], index: int, untested: int
) -> int:
    """How many units turn a verdict if they are left out: the 1 % that support it most (Broderick, Giordano and Meager 2020,
    arXiv 2011.14999). 0 if it stays, or if nothing was shown."""
    comparison, question = found[index], questions[index]
    if {comparison.verdict, comparison.for_models} == {"open"}:
        return 0
    tested = paired(outcomes, [question], [name for name, _ in comparison.by_replicate])
    metric = outcomes.metric(question.metric)
    pulls = pulls_of(tested, metric.value, outcomes.sign(question.metric)).mean[0]
    names = np.unique(np.concatenate([t.units for t in tested]))
    few = int(np.ceil(DECISIVE * len(names)))
    gone = names[np.argsort(-np.sign(comparison.gain) * pulls, kind="stable")[:few]]
    left = [t.without(gone) for t in tested]
    if min(len(t.units) for t in left) == 0:
        return few
    tests = _tests(outcomes, [question], left)
    again = list(found)
    again[index] = replace(
        comparison,
        difference=float(tests.differences.mean()),
        p=None if tests.p is None else float(tests.p[0]),
        p_models=float(tests.p_models[0]),
    )
    now = _adjusted(again, untested)[index]
    return few if (now.verdict, now.for_models) != (comparison.verdict, comparison.for_models) else 0
