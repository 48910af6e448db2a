"""What is asked of runs that a sweep with halving may stop: their jobs, their steps, and whether they are known to reach the
end. halving.py makes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from consomme.plan.items import Model
from consomme.plan.problems import fail

RUNG, CHOICE, STUDY = "rung", "choice", "study"  # kinds of what is before a run; the last one is asked by trials.py


def jobs(model: Model) -> list[Model]:
    """The rungs, choices and studies before a model, and the model; the oldest first."""
    before = [job for kind in (RUNG, CHOICE, STUDY) if kind in model.before for job in jobs(model.before[kind])]
    return [*{id(job): job for job in before}.values(), model]


def stops(model: Model) -> bool:
    """Whether the job goes on after a rung, if the run has not been stopped."""
    return RUNG in model.before


def end(model: Model) -> int:
    """The step at which the job of a training ends, if its run hasn't been stopped. 0 if it trains in epochs."""
    return model.identity.get("until") or model.identity["settings"]["max_steps"] or 0


def steps(model: Model) -> int:
    """The steps that the job of a training takes, if its run hasn't been stopped."""
    return end(model) - (end(model.before[RUNG]) if stops(model) else 0)


def share(model: Model) -> float:
    """The share of the runs that the job of a rung trains; the others have been stopped."""
    if not stops(model):
        return 1.0
    choice = model.before[CHOICE]
    return choice.identity["settings"]["keep"] / len(choice.parents)


def at_the_end(models: Sequence[Model]) -> int:
    """How many of the models there are when all runs that are stopped early have been left out, unless some diverge."""
    choices = {m.before[CHOICE].digest: m.before[CHOICE] for m in models if stops(m)}
    kept = sum(choice.identity["settings"]["keep"] for choice in choices.values())
    return sum(not stops(m) for m in models) + kept


def check_all(models: Iterable[Model], path: str) -> None:
    """ConfigurationError if some runs of a sweep that stops early are named and others aren't: it may stop all that are."""
    named: dict[str, list[Model]] = {}
    for model in models:
        if stops(model):
            named.setdefault(model.before[CHOICE].digest, []).append(model)
    for found in named.values():
        if len(found) < len(found[0].before[CHOICE].parents):
            fail(path, f"{found[0].name} is one of a sweep with halving, {_unknown(found[0])}")


def check_known(model: Model, path: str) -> None:
    """ConfigurationError if the model is a run that may be stopped early, and wasn't named by itself."""
    if stops(model):
        fail(path, f"'{model.node}' is a sweep with halving, {_unknown(model)}")


def _unknown(run: Model) -> str:
    return (
        f"and which of its runs reach the end is known only when they have been trained; name {run.node}/best, or an "
        f"average of all of {run.node}"
    )
