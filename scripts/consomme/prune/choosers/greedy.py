"""Greedy search: repeatedly remove the layer whose removal costs least (Lee, Kang and Watanabe 2021)."""

from __future__ import annotations

import math

from pydantic import Field

from consomme.common.log import say
from consomme.common.settings import Section
from consomme.common.values import Integer
from consomme.prune.choosers.base import Answer, Chooser, Question, Steps
from consomme.prune.choosers.tried import Kept, Tried


class Settings(Section):
    """Settings of greedy."""

    beam: Integer = Field(1, ge=1, le=1000, description="the number of best sets that are kept at each step")
    swaps: bool = Field(
        False, description="at the end, exchange kept and removed layers while that improves the result"
    )
    rank: Integer = Field(1, ge=1, le=10**6, description="the k-th best set that was tried, instead of the best")


def greedy(question: Question) -> Answer:
    """Remove the layer without which the objective is highest, `drop` times (ties: the lowest layer). That takes
    depth + (depth - 1) + ... evaluations, `drop` terms.

    beam: the number of best sets that are kept at each step (1: the best alone). swaps: at the end, exchange a kept and a
    removed layer as long as that improves the objective, the best pair first. rank: return the k-th best of all tried
    sets of the target depth."""
    tried, trace = Tried(question), []
    settings = _settings(question)
    sets: list[Kept] = [tuple(range(question.depth))]
    for step in range(1, question.drop + 1):
        found: dict[Kept, float] = {}
        for kept in sets:
            question.near(kept)
            found |= {(less := _without(kept, layer)): tried.value(less) for layer in kept}
        best = sorted(found, key=lambda kept: -found[kept])[: settings.beam]  # ties: the first
        for place, kept in enumerate(best):
            trace.append({"step": step, **_removed(question, sets[0], kept), "objective": found[kept]})
            if place == 0:
                gone = ", ".join(str(n + 1) for n in tried.gone(kept))
                what = (
                    f"layer {trace[-1]['layer']} removed"
                    if settings.beam == 1
                    else f"best of {len(best)} without {gone}"
                )
                say(f"step {step} of {question.drop}: {what}, objective {found[kept]:.4f}")
        sets = best
    if settings.swaps:
        trace += _swap(question, tried, sets[0])
    chosen, ranked = tried.ranked(settings.rank)
    return tried.gone(chosen), [*trace, *ranked]


def leave_one_out(question: Question) -> Answer:
    """The `drop` layers whose single removal costs least, removed at once. `depth` evaluations; ignores interactions of
    layers."""
    tried, layers = Tried(question), tuple(range(question.depth))
    question.near(layers)
    found = {layer: tried.value(_without(layers, layer)) for layer in layers}
    gone = sorted(sorted(layers, key=lambda layer: (-found[layer], layer))[: question.drop])
    return gone, [{"layer": layer + 1, "objective": found[layer]} for layer in layers]


def _swap(question: Question, tried: Tried, kept: Kept) -> Steps:
    """Exchange one layer for another while the objective rises. That ends, because no set occurs twice."""
    steps: Steps = []
    while True:
        question.near(kept)
        pairs = {tuple(sorted({*kept, back} - {out})): (out, back) for out in kept for back in tried.gone(kept)}
        found = {other: tried.value(other) for other in pairs}
        best = max(found, key=lambda other: found[other])
        if not found[best] > tried.value(kept):
            return steps
        out, back = pairs[best]
        say(f"swap {len(steps) + 1}: layer {out + 1} removed, layer {back + 1} restored, objective {found[best]:.4f}")
        steps.append({"swap": len(steps) + 1, "layer": out + 1, "back": back + 1, "objective": found[best]})
        kept = best


def _removed(question: Question, before: Kept, after: Kept) -> dict[str, object]:
    """The record of a set in a step: the layer removed or, with a beam, all layers removed so far."""
    if _settings(question).beam == 1:
        return {"layer": next(n for n in before if n not in after) + 1}
    return {"layers": [n + 1 for n in range(question.depth) if n not in after]}


def _settings(question: Question) -> Settings:
    return question.settings or Settings()


def _without(kept: Kept, layer: int) -> Kept:
    return tuple(k for k in kept if k != layer)


def _tries(question: Question) -> int:
    """The number of sets in the last step; with a beam or swaps an upper bound: all possible sets."""
    if (settings := _settings(question)).beam == 1 and not settings.swaps:
        return question.depth - question.drop + 1
    return math.comb(question.depth, question.drop)


GREEDY = Chooser("greedy", greedy, searches=True, by_metric=True, settings=Settings, tries=_tries)
LEAVE_ONE_OUT = Chooser("leave_one_out", leave_one_out, searches=True, by_metric=True)
