"""Choices on development sets: their settings, corpora and reference models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from consomme.average.methods import TABLE as METHODS
from consomme.plan import experiments
from consomme.plan.items import Model, Prepared
from consomme.plan.problems import among, fail
from consomme.plan.schema import AverageNode, Constraint, Data
from consomme.plan.stages import VERSIONS

if TYPE_CHECKING:
    from consomme.plan.view import Graph

Goals = dict[str, Any]  # development set -> best, a weight, or a constraint


class Choice(NamedTuple):
    """The inputs of a job that chooses on development sets."""

    identity: dict[str, Any]  # its part of the model's identity
    settings: dict[str, Any] | None  # choose_on: the metric, and each set's weight or limit
    corpora: dict[str, Prepared]
    references: dict[str, Model]  # the models that lose_at_most compares with


NO_CHOICE = Choice({}, None, {}, {})


def choice(
    graph: Graph,
    goals: Goals | None,
    metric: str,
    data: Data,
    path: str,
    rank_by: str | None = None,
    limits: str | None = None,
) -> Choice:
    """The choice among models of `graph` by `goals`, on the development sets of `data`.

    limits: name of the method that requires lose_at_most, if it does. If no set is `best`, the limited sets are also
    the objective."""
    task = graph.experiment.task
    dev = graph.data.development(data, path)
    if not dev:
        fail(f"{graph.path}.data.dev", f"{path} needs a development set to choose on")
    written = graph.data.written
    experiments.check_metric(f"{path}.metric", metric, task, written)
    experiments.check_metric(f"{path}.rank_by", rank_by or metric, task, written)
    references: dict[str, Model] = {}
    sets: dict[str, Any] = {}
    used_metrics = {metric, rank_by or metric}
    for name, goal in (goals or dict.fromkeys(dev, "best")).items():
        among(f"{path}.choose_on", name, dev, "development set")
        if isinstance(goal, Constraint):
            references[goal.of] = graph.one(goal.of, f"{path}.choose_on.{name}.of")
            bound = goal.metric or graph.metric
            experiments.check_metric(f"{path}.choose_on.{name}.metric", bound, task, written)
            used_metrics.add(bound)
            sets[name] = {"lose_at_most": goal.lose_at_most, "of": goal.of, "metric": bound}
        else:
            sets[name] = {"weight": 1.0 if goal == "best" else goal}
    if limits and not references:
        fail(
            f"{path}.choose_on",
            f"{limits} needs a limit, such as {next(iter(dev))}: {{lose_at_most: 1, of: MODEL}}: what may be lost",
        )
    if limits and not any("weight" in s for s in sets.values()):
        sets = {name: {"weight": 1.0, **s} for name, s in sets.items()}
    if not any("weight" in s for s in sets.values()):
        fail(f"{path}.choose_on", "at least one development set must be `best`: constraints alone choose nothing")
    corpora = {c.name: c for name in sets for c in dev[name].values()}
    identity: dict[str, Any] = {
        "dev": {name: list(dev[name]) for name in sets},
        "languages": graph.languages,
        "evaluator": VERSIONS["evaluate"],
    }
    if used_metrics - {"loss"}:
        identity |= {"decoding": graph.decoding, "normaliser": graph.normaliser}
        identity |= experiments.treatment(used_metrics, graph.normaliser, written)
    return Choice(identity, {"metric": metric, "sets": sets}, corpora, references)


def no_constraints(goals: Goals | None, path: str) -> Goals | None:
    """ConfigurationError if a goal is a constraint. Stepwise and gradient searches have no finished model to hold to it."""
    for name, goal in (goals or {}).items():
        if isinstance(goal, Constraint):
            able = ", ".join(
                n for n, m in METHODS.items() if m.limits and m.chooses({}) and n not in AverageNode.HIDDEN
            )
            fail(
                f"{path}.choose_on.{name}",
                f"lose_at_most belongs to NODE/best and to averages by {able}; give a weight or best",
            )
    return goals
