"""Claims and their verdicts in words."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from consomme.common.evidence import REPLICATES
from consomme.report.evidence.claims import Comparison
from consomme.report.findings.averages import against_best
from consomme.report.numbers import metric_title, p_text, signed
from consomme.report.outcomes import Outcomes

WORDS = {"holds": "shown", "fails": "refuted"}
SHOWN = 4  # names in one line
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight"}


def word(c: Comparison) -> str:
    """The verdict: of the method if that can be said, else of these models."""
    if c.verdict != "open":
        return f"{WORDS[c.verdict]} for the method"
    return f"{WORDS[c.for_models]} for these models" if c.for_models != "open" else "not shown"


def headline(claims: Sequence[Comparison]) -> str:
    """A sentence with the number of claims that are shown for the method, and of those that are for these models alone."""
    if not claims:
        return "No claim was declared: what follows is exploration, and proves nothing."
    if len(claims) == 1:
        return (
            f"The one claim is {word(claims[0])}." if word(claims[0]) != "not shown" else "The one claim was not shown."
        )
    method = sum(c.verdict == "holds" for c in claims)
    models = sum(c.verdict == "open" and c.for_models == "holds" for c in claims)
    what = f"{_of(method, len(claims))} shown for the method"
    more = f"{models}{' more' * (method > 0)} {'is' if models == 1 else 'are'} shown for these models alone"
    return f"{what}; {more}." if models else f"{what}."


def _of(count: int, claims: int) -> str:
    if count == claims:
        return f"All {claims} claims are"
    return f"{count or 'None'} of {claims} claims {'is' if count <= 1 else 'are'}"


def claim_title(c: Comparison) -> str:
    """The claim in short."""
    margin = f" within {c.margin:g}" if c.hypothesis == "keeps" else ""
    return f"{c.model} {c.hypothesis} {c.against} on {c.set}{margin}"


def reading(c: Comparison) -> str:
    """The meaning of the verdict, as part of a sentence."""
    if c.refused:
        return f"not tested: {c.refused}"
    verdict = c.for_models if c.verdict == "open" else c.verdict
    if c.hypothesis == "beats":
        if verdict == "open":
            return f"{c.model} did no better" if c.difference <= 0 else "the difference could be chance"
        found = f"{c.model} is {'better' if verdict == 'holds' else 'worse'}"
    elif verdict == "open":
        found = f"a loss of more than {c.margin:g} can't be ruled out"
        return f"{found} after Holm's adjustment" if c.ci_low > -(c.margin or 0.0) else found
    else:
        found = f"at most {c.margin:g} was lost" if verdict == "holds" else f"more than {c.margin:g} was lost"
    return found if c.verdict != "open" else f"{found}, but {_why_not(c)}"


def _why_not(c: Comparison) -> str:
    """Why what is shown for these models isn't shown for the method."""
    if c.replicates < REPLICATES:
        trained = "one training of each says" if c.replicates == 1 else f"{NUMBERS[c.replicates]} trainings of each say"
        return f"{trained} little of another"
    return "over the replicates it could be chance"


def numbers(c: Comparison) -> str:
    """The difference, its interval, and p of what the verdict speaks of."""
    p, adjusted = (c.p_models, c.p_models_holm) if c.p is None else (c.p, c.p_holm)
    shown = f"{signed(c.difference)} {metric_title(c.metric)} ({interval(c, '95 % interval ')}"
    if p is not None:
        shown += f", {p_text(p)}"
        shown += f", after Holm {p_text(adjusted).removeprefix('p ')}" if adjusted not in (None, p) else ""
    return f"{shown}; {spread(c)})" if c.replicates > 1 else f"{shown})"


def interval(c: Comparison, title: str = "") -> str:
    """The ends of the 95 % interval."""
    return "no interval: one unit" if math.isnan(c.ci_low) else f"{title}{signed(c.ci_low)} to {signed(c.ci_high)}"


def notes(c: Comparison) -> list[str]:
    """What weakens a claim, a sentence each."""
    found = [f"Only {c.units} independent units ({c.unit})."] if c.few else []
    if c.decisive:
        few = "the unit" if c.decisive == 1 else f"the {c.decisive} units"
        found.append(
            f"Rests on few: without {few} of {c.units} that count{'s' * (c.decisive == 1)} most it would not be so."
        )
    if c.seen:
        found.append(c.seen)
    return found


def claim_line(c: Comparison) -> str:
    """A claim, its verdict and its numbers, as one line of Markdown."""
    return " ".join([f"**{claim_title(c)}** — {word(c)}, {reading(c)}: {numbers(c)}.", *notes(c)])


def visible_text(c: Comparison) -> str:
    """The smallest difference that could have been seen, or why there is none."""
    return f"none measurable: {c.unseen}" if c.unseen else f"{c.visible:.2f}"


def spread(c: Comparison) -> str:
    """The difference of each replicate, in the order of their names."""
    count = NUMBERS.get(c.replicates, str(c.replicates))
    return f"{count} replicates: {' '.join(signed(d, 1) for _, d in c.by_replicate)}"


def standing(c: Comparison) -> tuple[str, str]:
    """An average against the best of its runs: (good, open, bad, or empty without a declared claim; the same in words).
    Only a declared claim shows anything; without one the words are "looks better" and the like."""
    words = {"holds": "better", "fails": "worse"}
    if c.declared and c.hypothesis == "beats":
        if c.verdict != "open":
            return {"holds": "good", "fails": "bad"}[c.verdict], words[c.verdict]
        return "open", f"{words[c.for_models]} for these models" if c.for_models != "open" else "not shown to be better"
    looks = c.verdict if c.p is not None else c.for_models
    if c.hypothesis == "keeps":  # its p is about the margin
        looks = "open" if not (c.ci_low > 0 or c.ci_high < 0) else "holds" if c.difference > 0 else "fails"
    return ("open", "not shown to be better") if looks == "open" else ("", f"looks {words[looks]}")


def best_lines(outcomes: Outcomes, comparisons: Sequence[Comparison]) -> list[str]:
    """One line per standing, with its averages and test sets."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in against_best(outcomes, comparisons):
        for c in filter(None, row["sets"].values()):
            words = f"{c.model} on {c.set} ({signed(c.difference)} {metric_title(c.metric)}, {interval(c, '95 % interval ')})"
            groups[standing(c)[1], row["best"]].append(words)
    lines = []
    for (words, best), entries in groups.items():
        shown = "; ".join(entries[:SHOWN]) + (
            f"; and {len(entries) - SHOWN} more in report.html" if len(entries) > SHOWN else ""
        )
        undeclared = " (not declared beforehand, so no proof)" if words.startswith("looks") else ""
        better = words.removesuffix(" for these models")
        alone = " for these models" if words != better else ""
        lines.append(f"{better[0].upper()}{better[1:]} than the best run, {best}{alone}{undeclared}: {shown}.")
    return lines
