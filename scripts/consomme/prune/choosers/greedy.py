"""Search: the layer that is missed least goes, again and again (Lee, Kang and Watanabe 2021)."""

from __future__ import annotations

import math

from consomme.common.stage import say
from consomme.prune.choosers.base import Answer, Chooser, Objective, Question


def greedy(question: Question) -> Answer:
    """Remove the layer without which the objective is highest, `drop` times; of equals the lowest layer.

    That asks for the objective depth + (depth - 1) + ... times, drop terms."""
    assert question.objective is not None, "greedy needs an objective"
    kept, trace = list(range(question.depth)), []
    for step in range(1, question.drop + 1):
        found = without_each(kept, question.objective)
        least = max(kept, key=lambda layer: found[layer])  # the first of equals
        kept.remove(least)
        say(f"step {step} of {question.drop}: layer {least + 1} goes, objective {found[least]:.4f}")
        trace.append({"step": step, "layer": least + 1, "objective": found[least]})
    return [n for n in range(question.depth) if n not in kept], trace


def leave_one_out(question: Question) -> Answer:
    """The layers that are missed least one by one, all at once: depth evaluations, and blind to what layers do together."""
    assert question.objective is not None, "leave_one_out needs an objective"
    layers = list(range(question.depth))
    found = without_each(layers, question.objective)
    gone = sorted(sorted(layers, key=lambda layer: (-found[layer], layer))[: question.drop])
    return gone, [{"layer": layer + 1, "objective": found[layer]} for layer in layers]


def without_each(kept: list[int], objective: Objective) -> dict[int, float]:
    """layer -> the objective without it; what can't be measured is the worst."""
    found = {}
    for layer in kept:
        value = objective([k for k in kept if k != layer])
        found[layer] = -math.inf if math.isnan(value) else value
    return found


GREEDY = Chooser("greedy", greedy, searches=True)
LEAVE_ONE_OUT = Chooser("leave_one_out", leave_one_out, searches=True)
