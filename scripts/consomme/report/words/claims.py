"""Claims and their verdicts in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from consomme.report.evidence.claims import LEVEL, Comparison
from consomme.report.findings.averages import against_best
from consomme.report.numbers import metric_title, p_text, signed
from consomme.report.outcomes import Outcomes

VERDICTS = {"holds": "shown", "open": "not shown", "fails": "refuted"}
SHOWN = 4  # names in one line


def headline(claims: Sequence[Comparison]) -> str:
    """A sentence with the number of claims that hold."""
    if not claims:
        return "No claim was declared: what follows is exploration, and proves nothing."
    holding = sum(c.verdict == "holds" for c in claims)
    if len(claims) == 1:
        return "The one claim holds." if holding else "The one claim was not shown."
    if holding == len(claims):
        return f"All {len(claims)} claims hold."
    return f"{holding or 'None'} of {len(claims)} claims {'holds' if holding == 1 else 'hold'}."


def claim_title(c: Comparison) -> str:
    """The claim in short."""
    margin = f" within {c.margin:g}" if c.hypothesis == "keeps" else ""
    return f"{c.model} {c.hypothesis} {c.against} on {c.set}{margin}"


def reading(c: Comparison) -> str:
    """The meaning of the verdict, as part of a sentence."""
    if c.hypothesis == "beats":
        if c.verdict == "holds":
            return f"{c.model} is better"
        if c.verdict == "fails":
            return f"{c.model} is worse"
        return f"{c.model} did no better" if c.difference <= 0 else "the difference could be chance"
    if c.verdict == "holds":
        return f"at most {c.margin:g} was lost"
    if c.verdict == "fails":
        return f"more than {c.margin:g} was lost"
    return f"a loss of more than {c.margin:g} can't be ruled out"


def claim_line(c: Comparison) -> str:
    """A claim, its verdict and its numbers, as one line of Markdown."""
    numbers = (
        f"{signed(c.difference)} {metric_title(c.metric)} "
        f"(95 % interval {signed(c.ci_low)} to {signed(c.ci_high)}, {p_text(c.p)}"
    )
    if c.p_holm is not None and c.p_holm != c.p:
        numbers += f", after Holm {p_text(c.p_holm).removeprefix('p ')}"
    numbers += f"; {spread(c)})" if c.replicates > 1 else ")"
    few = f" Only {c.units} independent units." if c.few else ""
    return f"**{claim_title(c)}** — {VERDICTS[c.verdict]}, {reading(c)}: {numbers}.{few}"


def spread(c: Comparison) -> str:
    """The difference of each replicate, in the order of their names."""
    count = {2: "two", 3: "three", 4: "four", 5: "five"}.get(c.replicates, str(c.replicates))
    return f"{count} replicates: {' '.join(signed(d, 1) for _, d in c.by_replicate)}"


def standing(c: Comparison) -> tuple[str, str]:
    """An average against the best of its runs: (good, open, bad, or empty without a declared claim; the same in words).
    Only a declared claim shows anything; without one the words are "looks better" and the like."""
    claim = c.declared and c.hypothesis == "beats"
    significant = c.verdict != "open" if claim else not c.ci_low <= 0 <= c.ci_high
    if c.hypothesis == "beats" and not claim:
        significant = c.p < LEVEL
    if not significant:
        return "open", "not shown to be better"
    state, word = ("good", "better") if c.difference > 0 else ("bad", "worse")
    return (state, word) if claim else ("", f"looks {word}")


def best_lines(outcomes: Outcomes, comparisons: Sequence[Comparison]) -> list[str]:
    """One line per standing, with its averages and test sets."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in against_best(outcomes, comparisons):
        for c in filter(None, row["sets"].values()):
            words = f"{c.model} on {c.set} ({signed(c.difference)} {metric_title(c.metric)}, 95 % interval {signed(c.ci_low)} to {signed(c.ci_high)})"
            groups[standing(c)[1], row["best"]].append(words)
    lines = []
    for (words, best), entries in groups.items():
        shown = "; ".join(entries[:SHOWN]) + (
            f"; and {len(entries) - SHOWN} more in report.html" if len(entries) > SHOWN else ""
        )
        undeclared = " (not declared beforehand, so no proof)" if words.startswith("looks") else ""
        lines.append(f"{words[0].upper()}{words[1:]} than the best run, {best}{undeclared}: {shown}.")
    return lines
