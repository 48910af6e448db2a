"""Averages: checks of method and ingredients, and the models that they make."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from consomme.average.methods import TABLE as METHODS
from consomme.common.errors import ConsommeError
from consomme.families import TABLE as FAMILIES
from consomme.plan import rungs
from consomme.plan.choices import NO_CHOICE, choice, no_constraints
from consomme.plan.items import BEST, Model, Prepared
from consomme.plan.problems import among, fail, section
from consomme.plan.schema import AverageNode, PruneNode
from consomme.plan.selection import groups, selected
from consomme.plan.sweeps import points

if TYPE_CHECKING:
    from consomme.plan.view import Graph


def with_choice(raw: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """A raw node with the first of the settings that `choose` tries, so that the method has all that it needs.
    ConfigurationError for a setting that can't be chosen."""
    if raw.get("choose") is None:
        return raw
    tried = points(raw["choose"], f"{path}.choose")
    method = raw.get("method", "uniform")
    for key in dict.fromkeys(key for point in tried for key in point) if method in METHODS else ():
        able = [k for k in METHODS[method].keys if k not in ("base", *METHODS[method].searching)]
        among(f"{path}.choose", key, able, f"setting of {method} that can be chosen")
        if key in raw:
            fail(f"{path}.{key}", "is given, and stands in `choose` too")
    return {**raw, **tried[0]}


def _tried(node: AverageNode, path: str) -> tuple[list[str], list[AverageNode]]:
    """The keys that `choose` tries, and the node with each combination of their values. Empty without `choose`."""
    if node.choose is None:
        return [], []
    rest = node.model_dump(exclude_unset=True, by_alias=True)
    tried = points(rest.pop("choose"), f"{path}.choose")
    names = list(dict.fromkeys(key for point in tried for key in point))
    rest = {key: value for key, value in rest.items() if key not in names}
    return names, [section(AverageNode, {**rest, **point}, f"{path}.choose") for point in tried]


def check(node: AverageNode, swept: bool, path: str) -> None:
    """ConfigurationError for keys of a choice on development sets if none is made. Of a swept node, NODE/best is one."""
    if searches(node):
        return
    searching = METHODS[node.method].searching
    given = [key for key in METHODS[node.method].keys if key in node.model_fields_set and key not in searching]
    why = f"{given[0]} is given" if given and METHODS[node.method].chooses({}) else f"{node.method} chooses nothing"
    for name in (*(() if node.choose or swept else ("choose_on", "metric")), *searching):
        if name in node.model_fields_set:
            fail(f"{path}.{name}", f"has no use here: {why}")


def searches(node: AverageNode) -> bool:
    """Whether the method itself uses development sets."""
    return METHODS[node.method].chooses(_own(node))


def chooses(node: AverageNode) -> bool:
    """Whether development sets are used, by the method or to choose its settings."""
    return node.choose is not None or searches(node)


def settings_of(node: AverageNode) -> dict[str, Any]:
    """Only the settings that the method reads. They are part of the model's identity."""
    unread = {"base", *(() if searches(node) else METHODS[node.method].searching)}
    return {"method": node.method, **{name: value for name, value in _own(node).items() if name not in unread}}


def _own(node: AverageNode) -> dict[str, Any]:
    """The method's own settings, defaults filled in."""
    return node.model_dump(by_alias=True, include=set(METHODS[node.method].settings.model_fields))


def has_base(node: AverageNode) -> bool:
    """Whether the method works on differences from a base."""
    return METHODS[node.method].has_base


def has_statistics(method: str, family: str | None, task: str) -> bool:
    """Whether averages by this method may have running statistics to recompute on training data. None as family: whether
    any family of the task has them."""
    possible = [FAMILIES[family]] if family else [f for f in FAMILIES.values() if f.task == task]
    return METHODS[method].mixes and any(f.batch_norm for f in possible)


def holds_limits(method: str) -> bool:
    """Whether `lose_at_most` can bind the averaging method."""
    return METHODS[method].limits


def needs_limits(method: str) -> bool:
    """Whether the method requires `lose_at_most`."""
    return METHODS[method].needs_limits


def picks(method: str) -> bool:
    """Whether the method returns one of its models unchanged, so that they may have any shape."""
    return METHODS[method].picks


def common(values: list[Any]) -> Any:
    """The value that all share, else None (also if one is None)."""
    return values[0] if all(value == values[0] for value in values) else None


def seeded(node: AverageNode) -> bool:
    """Whether the method draws at random."""
    return METHODS[node.method].seeded


def check_ingredients(node: AverageNode, group: list[Model], path: str) -> None:
    """ConfigurationError unless their number fits the method and the weights, and family and shape are equal."""
    rungs.check_all(group, f"{path}.average")
    try:
        METHODS[node.method].check_parents(rungs.at_the_end(group))
    except ConsommeError as error:
        fail(f"{path}.average", f"{error}: {', '.join(m.name for m in group)}")
    if (kind := METHODS[node.method].keeps) is not None:
        _kept(kind, node.method, group[0], getattr(node, "count", None), path)
    if METHODS[node.method].adapters:
        _adapters(node.method, group, path)
    given = getattr(node, "weights", None)
    lists = given if isinstance(given, dict) else {"": given} if given is not None else {}
    for key, weights in lists.items():
        if len(weights) != len(group):
            names = ", ".join(m.name for m in group)
            fail(f"{path}.weights{'.' * bool(key)}{key}", f"{len(weights)} given for {len(group)} models: {names}")
        if not sum(weights) > 0 and node.method == "weighted":
            fail(f"{path}.weights{'.' * bool(key)}{key}", f"their sum is {sum(weights):g}; it must be more than 0")
    shapes = (
        ("family", "families"),
        ("depth", "depths"),
        ("heads", "numbers of heads"),
        ("width", "widths"),
        ("vocabulary", "vocabularies"),
    )
    for attribute, word in shapes if not picks(node.method) else ():
        known = {m.name: getattr(m, attribute) for m in group if getattr(m, attribute) is not None}
        values = list({json.dumps(v, sort_keys=True): v for v in known.values()}.values())
        if len(values) > 1:
            first, second = (next(n for n, v in known.items() if v == value) for value in values[:2])
            fail(
                f"{path}.average",
                f"models of different {word} can't be averaged: {first} ({values[0]}), {second} ({values[1]})",
            )


def _kept(kind: str, method: str, run: Model, count: int | None, path: str) -> None:
    """ConfigurationError unless the training of the run, or of the runs that it is the best of, keeps the checkpoints
    that the method averages, at least `count` of them."""
    trained = [run] if run.verb == "train" and run.stage == "train" else list(run.parents.values())
    for model in trained:
        if model.stage != "train":
            fail(f"{path}.average", f"{method} averages checkpoints of a training, and '{run.name}' isn't a training")
        kept = model.identity["settings"].get("checkpoints") or {}
        if not kept.get(kind):
            fail(f"{path}.method", f"'{model.name}' keeps none; its node needs checkpoints with `{kind}`")
        if count is not None and count > kept[kind]:
            fail(f"{path}.count", f"{count} given; the training of '{model.name}' keeps {kept[kind]}")


def _adapters(method: str, group: list[Model], path: str) -> None:
    """ConfigurationError unless every ingredient has adapters of its own, all of one kind and size."""
    kinds = {}
    for model in group:
        settings = model.identity["settings"]
        if model.stage == "average" and settings["method"] == method:
            continue  # its ingredients were looked at
        runs = [model] if model.stage == "train" else list(model.parents.values()) if model.run == BEST else []
        found = [run.identity["settings"].get("lora") or {} for run in runs if run.stage == "train"]
        if not found or not all(lora.get("keep") for lora in found):
            fail(f"{path}.average", f"{method} averages adapters, and '{model.name}' keeps none: lora: {{keep: true}}")
        if any(lora.get("use_dora") for lora in found):
            fail(
                f"{path}.average",
                f"{method}: '{model.name}' has DoRA's adapters, whose factors have no mean; use uniform",
            )
        kinds |= {
            json.dumps([lora[k] for k in ("r", "lora_alpha", "target_modules", "use_rslora")]): model.name
            for lora in found
        }
    if len(kinds) > 1:
        one, other = list(kinds.values())[:2]
        fail(
            f"{path}.average",
            f"{method}: the adapters of {one} and {other} differ in r, lora_alpha, target_modules or use_rslora; uniform "
            "averages the merged models",
        )


# -- making -----------------------------------------------------------------------------------------------------------
def make(graph: Graph, name: str, node: AverageNode, own: dict[str, Any], path: str) -> list[Model]:
    """One average for each value of `by`."""
    check(node, bool(own), path)
    names, candidates = _tried(node, path)
    exports = picks(node.method)
    pool = [m for ref in node.average for m in graph.resolve(ref, f"{path}.average", exports)]
    pool = list({m.id: m for m in pool}.values())
    pool = selected(pool, node.where, f"{path}.where")
    made = []
    for values, group in groups(pool, node.by, f"{path}.by"):
        if (node.quorum or 0) > len(group):
            names = ", ".join(m.name for m in group)
            fail(f"{path}.quorum", f"{node.quorum} given, and there are {len(group)} models to average: {names}")
        for candidate in candidates or [node]:
            check_ingredients(candidate, group, f"{path}.choose" if candidates else path)
        settings = settings_of(node)
        if candidates:
            tried = [settings_of(candidate) for candidate in candidates]
            settings = {key: value for key, value in settings.items() if key not in names}
            settings["choose"] = [{key: each[key] for key in names} for each in tried]
        if (base := _base(graph, node, group, path)) is not None:
            settings["base"] = True  # the first parent; its name is no part of the identity
            group = [base, *group]
        if seeded(node):
            settings["seed"] = graph.replicate
        choose = chooses(node)
        made.append(_chosen(graph, name, own | values, "average", settings, group, node, path, choose))
    return made


def _base(graph: Graph, node: AverageNode, group: list[Model], path: str) -> Model | None:
    """The base model, for methods that average differences from one: as named, else the one model that all
    ingredients were trained from."""
    if not has_base(node):
        return None
    if (named := getattr(node, "base", None)) is not None:
        base = graph.one(named, f"{path}.base")
    else:
        runs = [run for m in group for run in (m.parents.values() if m.run == BEST else (m,))]
        found = {p.id: p for run in runs for p in run.parents.values()}
        if len(found) != 1:
            names = ", ".join(p.name for p in found.values()) or "none"
            fail(f"{path}.base", f"{node.method} needs the model that all were tuned from; their parents: {names}")
        base = next(iter(found.values()))
    if base.id in {m.id for m in group}:
        fail(f"{path}.base", f"'{base.name}' is one of the models that are averaged")
    return base


def best(graph: Graph, name: str, node: Any, runs: list[Model], path: str, **asked: Any) -> Model:
    """NODE/best: the run that is best on the development sets. asked: what else it says, `keep` which runs are the best so
    many, `study` where others should lie."""
    settings = {"method": "best_run", **asked}
    found = _chosen(graph, name, {}, runs[0].verb, settings, runs, node, path, True)
    return replace(found, run=BEST)


def _chosen(
    graph: Graph,
    name: str,
    own: dict[str, Any],
    verb: str,
    settings: dict[str, Any],
    group: list[Model],
    node: Any,
    path: str,
    choose: bool,
) -> Model:
    chosen = NO_CHOICE
    if choose:
        metric = getattr(node, "metric", None)
        metric = graph.metric if metric is None or isinstance(node, PruneNode) else metric
        data, goals = graph.data.of(getattr(node, "data", None)), getattr(node, "choose_on", None)
        if not holds_limits(settings["method"]) and not settings.get("choose"):
            goals = no_constraints(goals, path)
        limits = needs_limits(settings["method"])
        rank_by = settings.get("rank_by")
        chosen = choice(graph, goals, metric, data, path, rank_by, limits=settings["method"] if limits else None)
    settings["choose_on"] = chosen.settings
    deployed = next((m.name for m in group if m.exported), None)
    if deployed and "loss" in _metrics(chosen.settings):
        fail(f"{path}.metric", f"loss, and '{deployed}' is an export, which has none; choose by {graph.metric}")
    identity = {"task": graph.experiment.task, "settings": settings, **chosen.identity}
    # models to choose from may have different shapes
    shape = ("family", "codes", "depth", "heads", "width", "vocabulary")
    known = {a: common([getattr(m, a) for m in group]) for a in shape}
    statistics = {}
    if has_statistics(settings["method"], known["family"], graph.experiment.task):
        statistics = trained_on(group)
    return graph.model(
        name,
        own,
        verb,
        identity,
        parents={m.name: m for m in group},
        references=chosen.references,
        corpora=chosen.corpora,
        statistics=statistics,
        execution={"quorum": quorum} if (quorum := getattr(node, "quorum", None)) else {},
        stage="average",
        **known,
    )


def _metrics(choose_on: Mapping[str, Any] | None) -> set[str]:
    """The metrics of a choice and of its limits."""
    if not choose_on:
        return set()
    return {choose_on["metric"], *(one["metric"] for one in choose_on["sets"].values() if one.get("metric"))}


def trained_on(models: Iterable[Model]) -> dict[str, tuple[Prepared, float]]:
    """The corpora that the models (or, for models that were not trained, their parents) were trained on, with their
    weights summed over the models."""
    found: dict[str, tuple[Prepared, float]] = {}
    waiting, seen = list(models), set()
    while waiting:
        model = waiting.pop(0)
        if model.id in seen:
            continue
        seen.add(model.id)
        if model.stage != "train":
            waiting += model.parents.values()
            continue
        for name, weight in model.identity["train"].items():
            found[name] = model.corpora[name], weight + (found[name][1] if name in found else 0.0)
    return found
