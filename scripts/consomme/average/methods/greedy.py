"""The greedy soup of Wortsman et al. 2022, arXiv 2203.05482, with a strict gain.

Models are ranked by the development objective. From the best on, each is added to the mean and kept if the objective
rises. The paper also keeps an ingredient that changes nothing; here the rise must be strict, so that, for example, a
copy of an ingredient is not added.

With `replacement`, each step tries every model, earlier ingredients too, and adds the one with the largest rise, until
none raises the objective: the ensemble selection of Caruana et al. 2004, on weights."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import Field

from consomme.average.methods.base import Method, Mix
from consomme.common.errors import ConsommeError
from consomme.common.log import say
from consomme.common.settings import Section
from consomme.common.values import Integer, Text


class Settings(Section):
    """Settings of greedy."""

    rank_by: Text | None = Field(None, description="metric that orders the models; default: that of choose_on")
    replacement: bool | None = Field(
        None, description="each step adds the model with the largest rise; a model may be added repeatedly"
    )
    at_most: Integer | None = Field(None, ge=1, le=10**6, description="largest number of ingredients")


def build(mix: Mix, folder: Path) -> dict[str, Any]:
    """Write the mean of the kept ingredients; all other files are those of the first ingredient.

    rank_by: metric that orders the models, if it is not that of choose_on; at_most: largest number of ingredients, where
    a repeated one counts repeatedly. Candidates are means in memory, with exactly the weights that would be written. With
    limits in choose_on, the first ingredient is the best parent that keeps them (ConsommeError if none does), and every
    later mean must keep them too."""
    from consomme.weights.candidates import Candidates
    from consomme.weights.mean import write_mean

    judge, rank_by = mix.judge(), mix.settings.get("rank_by")
    most, replacement = mix.setting("at_most", math.inf), mix.setting("replacement", False)
    with Candidates(mix.parents, judge.device, mix.renew) as candidates:
        objectives = {}
        for name in mix.parents:
            objectives[name] = judge.objective(candidates.single(name))
            say(f"alone: {name}: {judge.text(objectives[name])}")
        ranks = objectives
        if rank_by and rank_by != judge.choice.metric:
            ranks = {name: judge.objective(candidates.single(name), metric=rank_by) for name in mix.parents}
        ranked = sorted(mix.parents, key=lambda name: -ranks[name])  # stable: of equals the first given
        start = next((name for name in ranked if judge.admissible(candidates.single(name))[0]), None)
        if start is not None and objectives[start] == -math.inf:
            raise ConsommeError(
                f"greedy: {start} ranks first, and its {judge.choice.metric} is not finite; leave it out"
            )
        if start is None:
            raise ConsommeError(
                f"greedy: each of {', '.join(mix.parents)} loses more than choose_on allows, so there is no model to "
                f"start from; allow more, lower the learning rate, or interpolate with the model that the limits refer to"
            )
        kept, reached = [start], objectives[start]
        trace = [_step(1, start, reached, True, judge)]
        running, waiting = candidates.running(start), [name for name in ranked if name != start]
        while waiting and len(kept) < most:
            proposed = ranked if replacement else [waiting.pop(0)]
            found: dict[str, float] = {}
            able: list[str] = []
            for name in proposed:
                model = running.with_one_more(name)
                found[name] = judge.objective(model)
                if found[name] > reached and judge.admissible(model)[0]:
                    able.append(name)
            taken = max(able, key=lambda name: found[name], default=None)
            trace += [_step(len(kept) + 1, name, found[name], name == taken, judge) for name in proposed]
            if taken is not None:
                running.keep(taken)
                kept, reached = [*kept, taken], found[taken]
            elif replacement:
                break
    counts = Counter(kept)
    write_mean(folder, {name: mix.parents[name] for name in counts}, list(counts.values()), divisor=len(kept))
    say(f"greedy: {len(kept)} of {len(ranked)} models, {judge.text(reached)}")
    return {
        "ingredients": kept,
        "tried": ranked,
        "metric": judge.choice.metric,
        "scores": {name: judge.score(objectives[name]) for name in ranked},
        "trace": trace,
    }


def _step(step: int, name: str, objective: float, kept: bool, judge: Any) -> dict[str, Any]:
    say(f"step {step}: with {name}: {judge.text(objective)}: {'kept' if kept else 'not kept'}")
    return {"step": step, "candidate": name, "score": judge.score(objective), "kept": kept}


GREEDY = Method("greedy", build, settings=Settings, chooses=lambda settings: True)
