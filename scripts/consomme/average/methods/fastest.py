"""The fastest model that keeps the limits of choose_on: a choice of one parent, not an average."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from consomme.average.methods.base import Method, Mix
from consomme.common.log import say

AS_FAST = 0.95  # of the fastest speed: measurements that are closer don't tell models apart


def build(mix: Mix, folder: Path) -> dict[str, Any]:
    """Evaluate each parent, measure the speed of each, and link the files of the fastest that keeps the limits of choose_on.

    Speeds are measured on the first rows of the development sets, in turn, each model in its own window and exports by their
    own engines (`consomme.speed`). Of those within 5 % of the fastest, the best counts, of equals the first. ConsommeError,
    with amounts, if none keeps the limits. Evaluations and speeds are written to curve.tsv and returned."""
    from consomme.average.methods import within

    judge = mix.judge()
    measured = judge.speeds(mix.parents)  # first: it forks, which a process that has computed with threads must not do
    speed = {name: found["speed"] for name, found in measured.items()}
    for name, found in measured.items():
        say(f"{name}: {speed[name]:.4g} {found['speed_unit']}")
    candidates = within.evaluated(mix, judge)
    able = within.able("fastest", candidates)
    least = AS_FAST * max(speed[c.name] for c in able)
    chosen = max((c for c in able if speed[c.name] >= least), key=lambda c: c.objective)
    say(f"fastest: {chosen.name}, {speed[chosen.name]:.4g} {measured[chosen.name]['speed_unit']}")
    columns = ("speed", "speed_low", "speed_high", "speed_unit")
    return within.take(chosen, candidates, judge, folder, {n: {k: m[k] for k in columns} for n, m in measured.items()})


FASTEST = Method("fastest", build, chooses=lambda settings: True, mixes=False, needs_limits=True)
