"""The single best model on the development sets: a soup of one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from consomme.average.methods.base import Method, Mix
from consomme.common.errors import ConsommeError
from consomme.common.files import read_json
from consomme.common.log import say
from consomme.common.provenance import NAME


def build(mix: Mix, folder: Path) -> dict[str, Any]:
    """Evaluate each parent and link the files of the best; of equals the first. Parents that break a limit of choose_on
    are excluded; ConsommeError if all do. Parents may have different shapes. With the setting `keep`, the record also has all
    runs in their order (`ranked`), of which the first `keep` go on."""
    from consomme.families import load
    from consomme.weights.mean import link_model

    judge = mix.judge()
    objectives: dict[str, float] = {}
    admissible: dict[str, bool] = {}
    for name, path in mix.parents.items():
        model = load(path, judge.device)
        objectives[name] = judge.objective(model, path)
        admissible[name], _ = judge.admissible(model, path)
        say(f"{name}: {judge.text(objectives[name])}{'' if admissible[name] else ', breaks a limit of choose_on'}")
    able = [name for name in mix.parents if admissible[name]]
    if not able:
        raise ConsommeError(
            f"best run: each of {', '.join(mix.parents)} loses more than choose_on allows; allow more, or lower the learning rate"
        )
    chosen = max(able, key=lambda name: objectives[name])  # the first of equals
    if objectives[chosen] == -math.inf:
        raise ConsommeError(f"best run: none of {', '.join(able)} has a finite {judge.choice.metric}")
    link_model(mix.parents[chosen], folder)
    say(f"best run: {chosen}")
    record = {
        "ingredients": [chosen],
        "tried": list(mix.parents),
        "metric": judge.choice.metric,
        "scores": {name: judge.score(value) for name, value in objectives.items()},
        "admissible": admissible,
    }
    if keep := mix.settings.get("keep"):
        finite = sorted((name for name in able if objectives[name] > -math.inf), key=lambda name: -objectives[name])
        rest = [name for name in mix.parents if name not in finite]
        record |= {"keep": min(keep, len(finite)), "ranked": [ranked(mix, record, name) for name in (*finite, *rest)]}
        say(f"going on: {', '.join(finite[:keep])}")
    return record


def ranked(mix: Mix, record: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A run of a sweep that stops runs early. The digest tells it apart: a node may get another name."""
    known = read_json(mix.parents[name] / NAME)["digest"]
    return {"digest": known, "run": name, "score": record["scores"][name]}


BEST_RUN = Method("best_run", build, chooses=lambda settings: True, mixes=False)
