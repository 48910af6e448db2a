"""Search: the layer that is missed least goes, again and again (Lee, Kang and Watanabe 2021)."""

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

    beam: Integer = Field(1, ge=1, description="so many sets of layers go on at each step")
    swaps: bool = Field(
        False, description="in the end layers that stay and layers that went change places while it helps"
    )
    rank: Integer = Field(1, ge=1, description="the k-th best set that was tried, instead of the best")


def greedy(question: Question) -> Answer:
    """Remove the layer without which the objective is highest, `drop` times; of equals the lowest layer. That asks for
    the objective depth + (depth - 1) + ... times, drop terms.

    beam: so many sets go on at each step instead of the best alone; swaps: in the end a layer that stays and one that
    went change places as long as that helps, the pair that helps most first; rank: the answer is the k-th best of all
    sets of the wanted depth that were tried."""
    tried, trace = Tried(question), []
    settings = _settings(question)
    sets: list[Kept] = [tuple(range(question.depth))]
    for step in range(1, question.drop + 1):
        found: dict[Kept, float] = {}
        for kept in sets:
            question.near(kept)
            found |= {(less := _without(kept, layer)): tried.value(less) for layer in kept}
        best = sorted(found, key=lambda kept: -found[kept])[: settings.beam]  # of equals the first
        for place, kept in enumerate(best):
            trace.append({"step": step, **_removed(question, sets[0], kept), "objective": found[kept]})
            if place == 0:
                gone = ", ".join(str(n + 1) for n in tried.gone(kept))
                what = (
                    f"layer {trace[-1]['layer']} goes" if settings.beam == 1 else f"best of {len(best)} without {gone}"
                )
                say(f"step {step} of {question.drop}: {what}, objective {found[kept]:.4f}")
        sets = best
    if settings.swaps:
        trace += _swap(question, tried, sets[0])
    chosen, ranked = tried.ranked(settings.rank)
    return tried.gone(chosen), [*trace, *ranked]


def leave_one_out(question: Question) -> Answer:
    """The layers that are missed least one by one, all at once: depth evaluations, and blind to what layers do together."""
    tried, layers = Tried(question), tuple(range(question.depth))
    question.near(layers)
    found = {layer: tried.value(_without(layers, layer)) for layer in layers}
    gone = sorted(sorted(layers, key=lambda layer: (-found[layer], layer))[: question.drop])
    return gone, [{"layer": layer + 1, "objective": found[layer]} for layer in layers]


def _swap(question: Question, tried: Tried, kept: Kept) -> Steps:
    """Exchange one layer for another while the objective rises; that ends, as no set comes twice."""
    steps: Steps = []
    while True:
        question.near(kept)
        pairs = {tuple(sorted({*kept, back} - {out})): (out, back) for out in kept for back in tried.gone(kept)}
        found = {other: tried.value(other) for other in pairs}
        best = max(found, key=lambda other: found[other])
        if not found[best] > tried.value(kept):
            return steps
        out, back = pairs[best]
        say(f"swap {len(steps) + 1}: layer {out + 1} goes for layer {back + 1}, objective {found[best]:.4f}")
        steps.append({"swap": len(steps) + 1, "layer": out + 1, "back": back + 1, "objective": found[best]})
        kept = best


def _removed(question: Question, before: Kept, after: Kept) -> dict[str, object]:
    """What a step says of a set: the layer that went or, where several sets go on, all that are gone."""
    if _settings(question).beam == 1:
        return {"layer": next(n for n in before if n not in after) + 1}
    return {"layers": [n + 1 for n in range(question.depth) if n not in after]}


def _settings(question: Question) -> Settings:
    return question.settings or Settings()


def _without(kept: Kept, layer: int) -> Kept:
    return tuple(k for k in kept if k != layer)


def _tries(question: Question) -> int:
    """The sets of the last step; with a beam or swaps, at most all that there are."""
    if (settings := _settings(question)).beam == 1 and not settings.swaps:
        return question.depth - question.drop + 1
    return math.comb(question.depth, question.drop)


GREEDY = Chooser("greedy", greedy, searches=True, by_metric=True, settings=Settings, tries=_tries)
LEAVE_ONE_OUT = Chooser("leave_one_out", leave_one_out, searches=True, by_metric=True)
