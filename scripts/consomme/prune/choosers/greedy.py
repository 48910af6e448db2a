"""Search: the layer that is missed least goes, again and again (Lee, Kang and Watanabe 2021)."""

from __future__ import annotations

import math
from typing import Any

from consomme.common.stage import say
from consomme.prune.choosers.base import Chooser, Objective


def choose(depth: int, drop: int, objective: Objective | None) -> tuple[list[int], list[dict[str, Any]]]:
    """Remove the layer without which the objective is highest, `drop` times; of equals the lowest layer.

    That asks for the objective depth + (depth - 1) + ... times, drop terms."""
    assert objective is not None, "greedy needs an objective"
    kept, trace = list(range(depth)), []
    for step in range(1, drop + 1):
        found = {}
        for layer in kept:
            value = objective([k for k in kept if k != layer])
            found[layer] = -math.inf if math.isnan(value) else value
        least = max(kept, key=lambda layer: found[layer])  # the first of equals
        kept.remove(least)
        say(f"step {step} of {drop}: layer {least + 1} goes, objective {found[least]:.4f}")
        trace.append({"step": step, "layer": least + 1, "objective": found[least]})
    return [n for n in range(depth) if n not in kept], trace


GREEDY = Chooser("greedy", True, choose)
