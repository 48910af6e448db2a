"""The claims' register in a report: when each claim was declared, which were withdrawn, which wait for sealed test sets, and
how often each test set was looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace

from consomme.common.errors import ConsommeError
from consomme.register.claims import Claim, claims_of, rows
from consomme.register.entry import place
from consomme.register.looks import Looks, looks, together
from consomme.register.scores import plan_of, planned
from consomme.register.standing import Declared, Standing, standing
from consomme.report.evidence.claims import Comparison, compare
from consomme.report.evidence.questions import Question, declared, exploratory
from consomme.report.outcomes import Outcomes

WITHDRAWN = "withdrawn"


@dataclass(frozen=True)
class Registered:
    """What a report says beside the comparisons themselves."""

    standing: Standing
    # number of a tested claim -> when it was declared
    declared: dict[str, Declared]
    # claims on sealed test sets that aren't tested
    sealed: tuple[tuple[Claim, Declared], ...]
    # withdrawn claims with their comparison; None where it can't be computed any more
    withdrawn: tuple[tuple[Claim, Comparison | None], ...]
    # test sets that are still sealed
    closed: tuple[str, ...]
    looks: dict[str, Looks]  # test set -> its looks

    def when(self, comparison: Comparison) -> Declared | None:
        """When the claim of a comparison was declared; None if it is no claim."""
        return self.declared.get(comparison.claim)


def compared(outcomes: Outcomes) -> tuple[list[Comparison], Registered | None]:
    """The declared claims and the exploratory comparisons, and the register; None if the spec has none.

    Holm's correction runs over the withdrawn claims, too. What can't be tested, withdrawn or sealed, counts with p = 1."""
    questions = declared(outcomes)
    if "register" not in outcomes.spec:
        return compare(outcomes, [*questions, *exploratory(outcomes)]), None
    found, spec = standing(outcomes.spec), outcomes.spec
    claims, sealed = spec["claims"], claims_of(spec)[len(spec["claims"]) :]
    taken = [_question(outcomes, claim, n) if same else None for n, (claim, same) in enumerate(found.withdrawn, 1)]
    asked = [*questions, *filter(None, taken)]
    known = {(q.model, q.against, q.set, q.metric) for q in asked}
    beside = [q for q in exploratory(outcomes) if (q.model, q.against, q.set, q.metric) not in known]
    answers = compare(
        outcomes, [*asked, *(q for q in beside if _answered(outcomes, q))], taken.count(None) + len(sealed)
    )
    by_name = {c.claim: c for c in answers if c.claim.startswith(WITHDRAWN)}
    return [c for c in answers if c.claim not in by_name], Registered(
        found,
        {str(number): when for number, when in enumerate(found.claims[: len(claims)], 1)},
        tuple(zip(sealed, found.claims[len(claims) :], strict=True)),
        tuple((claim, by_name.get(f"{WITHDRAWN} {n}")) for n, (claim, _) in enumerate(found.withdrawn, 1)),
        tuple(test for test in spec["register"]["sealed"] if test not in found.opened),
        _looks(outcomes),
    )


def _question(outcomes: Outcomes, claim: Claim, number: int) -> Question | None:
    """The question of a withdrawn claim; None if its models, its test set or their answers aren't there any more."""
    try:
        found = declared(replace(outcomes, spec={**outcomes.spec, "claims": [claim]}))
    except ConsommeError:
        return None
    return next((replace(q, claim=f"{WITHDRAWN} {number}") for q in found if _answered(outcomes, q)), None)


def _answered(outcomes: Outcomes, question: Question) -> bool:
    """Whether both models were decoded on the test set: of one that was sealed, not all are."""
    return all(
        (model, replicate, "test", question.set) in outcomes.sheets
        for replicate in outcomes.replicates
        if question.set in outcomes.spec["sets"][replicate].get("test", {})
        for model in (question.model, question.against)
    )


def _looks(outcomes: Outcomes) -> dict[str, Looks]:
    every, found = looks(place(outcomes.spec).parent.parent), {}
    for test in outcomes.spec["register"]["tests"]:
        found[test] = together(every[one] for one in rows(outcomes.spec, test) if one and one in every)
        if test in outcomes.sets("test"):
            found[test].configurations.add(plan_of(planned(outcomes.spec), test))
    return found
