"""What an averaging method takes, looks at and makes, checked before any job starts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from consomme.average.methods import TABLE as METHODS
from consomme.common.errors import ConsommeError
from consomme.families import TABLE as FAMILIES
from consomme.plan.problems import fail
from consomme.plan.schema import AverageNode

if TYPE_CHECKING:
    from consomme.plan.items import Model


def check(node: AverageNode, path: str) -> None:
    """Keys that only a choice on development sets has use for."""
    if chooses(node):
        return
    searching = METHODS[node.method].searching
    given = [key for key in METHODS[node.method].keys if key in node.model_fields_set and key not in searching]
    why = f"{given[0]} is given" if given and METHODS[node.method].chooses({}) else f"{node.method} chooses nothing"
    for name in ("choose_on", "metric", *searching):
        if name in node.model_fields_set:
            fail(f"{path}.{name}", f"has no use here: {why}")


def chooses(node: AverageNode) -> bool:
    """Whether the method looks at development sets."""
    return METHODS[node.method].chooses(_own(node))


def settings(node: AverageNode) -> dict[str, Any]:
    """The settings that the method reads, and no others: they are the model's identity."""
    unread = {"base", *(() if chooses(node) else METHODS[node.method].searching)}
    return {"method": node.method, **{name: value for name, value in _own(node).items() if name not in unread}}


def _own(node: AverageNode) -> dict[str, Any]:
    """The method's own settings, defaults filled in."""
    return node.model_dump(by_alias=True, include=set(METHODS[node.method].settings.model_fields))


def has_base(node: AverageNode) -> bool:
    """Whether the method works on differences from a base."""
    return METHODS[node.method].has_base


def has_statistics(method: str, family: str | None, task: str) -> bool:
    """Whether an average by this method may have running statistics that training data has to give anew; a family that
    is not known yet may be any of the task's."""
    possible = [FAMILIES[family]] if family else [f for f in FAMILIES.values() if f.task == task]
    return METHODS[method].mixes and any(f.batch_norm for f in possible)


def holds_limits(method: str) -> bool:
    """Whether `lose_at_most` can bind the averaging method."""
    return METHODS[method].limits


def needs_limits(method: str) -> bool:
    """Whether the method is nothing without `lose_at_most`."""
    return METHODS[method].needs_limits


def is_choice(method: str) -> bool:
    """Whether the method takes one of its models as it is: they may then be of any shape, and what it makes is no average."""
    return not METHODS[method].mixes and METHODS[method].chooses({})


def common(values: list[Any]) -> Any:
    """What all have, None where they differ or one isn't known."""
    return values[0] if all(value == values[0] for value in values) else None


def seeded(node: AverageNode) -> bool:
    """Whether the method draws at random."""
    return METHODS[node.method].seeded


def check_ingredients(node: AverageNode, group: list[Model], path: str) -> None:
    """As many as the method takes and as there are weights, of one family and depth."""
    try:
        METHODS[node.method].check_parents(len(group))
    except ConsommeError as error:
        fail(f"{path}.average", f"{error}: {', '.join(m.name for m in group)}")
    if (kind := METHODS[node.method].keeps) is not None:
        _kept(kind, node.method, group[0], path)
    given = getattr(node, "weights", None)
    lists = given if isinstance(given, dict) else {"": given} if given is not None else {}
    for key, weights in lists.items():
        if len(weights) != len(group):
            names = ", ".join(m.name for m in group)
            fail(f"{path}.weights{'.' * bool(key)}{key}", f"{len(weights)} given for {len(group)} models: {names}")
        if not sum(weights) > 0 and node.method == "weighted":
            fail(f"{path}.weights{'.' * bool(key)}{key}", f"their sum is {sum(weights):g}; it must be more than 0")
    shapes = (("family", "families"), ("depth", "depths"), ("heads", "numbers of heads"), ("width", "widths"))
    for attribute, word in shapes if not is_choice(node.method) else ():
        known = {m.name: getattr(m, attribute) for m in group if getattr(m, attribute) is not None}
        values = list({json.dumps(v, sort_keys=True): v for v in known.values()}.values())
        if len(values) > 1:
            first, second = (next(n for n, v in known.items() if v == value) for value in values[:2])
            fail(
                f"{path}.average",
                f"models of different {word} can't be averaged: {first} ({values[0]}), {second} ({values[1]})",
            )


def _kept(kind: str, method: str, run: Model, path: str) -> None:
    """The training of a run, or of those that it is the best of, keeps what the method averages."""
    trained = [run] if run.verb == "train" and run.stage == "train" else list(run.parents.values())
    for model in trained:
        if model.stage != "train":
            fail(f"{path}.average", f"{method} averages checkpoints of a training, and '{run.name}' is none")
        kept = model.identity["settings"].get("checkpoints") or {}
        if not kept.get(kind):
            fail(f"{path}.method", f"'{model.name}' keeps none; its node needs checkpoints with `{kind}`")
