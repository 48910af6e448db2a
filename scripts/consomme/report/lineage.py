"""Relations between the models of an experiment: runs, nodes, ancestors, averages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consomme.report.outcomes import Outcomes


def averages(outcomes: Outcomes) -> dict[str, str]:
    """Average of some or all runs of a sweep -> the best run of that sweep, if both were scored."""
    evaluated = {s.model for s in outcomes.sheets.values()}
    runs = {m["name"]: m["node"] for m in outcomes.models if is_run(m)}
    found = {}
    for model in outcomes.models:
        nodes = [runs[p] for p in model.get("parents", []) if p in runs]
        best = f"{max(nodes, key=nodes.count)}/best" if nodes else ""
        several = (
            len(nodes) > 1 and model["verb"] == "average" and model.get("run") != "best" and not model.get("choice")
        )
        if several and {model["name"], best} <= evaluated:
            found[model["name"]] = best
    return found


def is_run(model: Mapping[str, Any]) -> bool:
    """Whether a model is one run of a swept node (its `best` is not)."""
    return bool(model.get("run")) and model["run"] != "best"


def named(outcomes: Outcomes) -> list[str]:
    """Models that aren't runs of a sweep, in the order of the configuration."""
    return list(dict.fromkeys(m["name"] for m in outcomes.models if not is_run(m)))


def node_of(outcomes: Outcomes, name: str) -> str:
    """The node that a model belongs to."""
    return next((m["node"] for m in outcomes.models if m["name"] == name), name).removesuffix("/best")


def _parents(outcomes: Outcomes) -> dict[str, list[str]]:
    return {m["name"]: list(m.get("parents", [])) for m in reversed(outcomes.models)}


def ancestors(outcomes: Outcomes, name: str) -> list[str]:
    """All models that `name` was made of, nearest first."""
    parents, found, queue = _parents(outcomes), {}, [name]
    while queue:
        for parent in parents.get(queue.pop(0), []):
            if parent not in found:
                found[parent] = None
                queue.append(parent)
    return list(found)


def root(outcomes: Outcomes, name: str) -> str:
    """The end of the line of first parents, as far as these were scored; runs that were stopped early were left out."""
    stopped = {model for model, replicate in outcomes.stopped if replicate == outcomes.replicates[0]}
    parents = {name: [p for p in found if p not in stopped] for name, found in _parents(outcomes).items()}
    scored, seen = {m["name"] for m in outcomes.models if m.get("evaluation")}, {name}
    while parents.get(name) and parents[name][0] not in seen and parents[name][0] in scored:
        name = parents[name][0]
        seen.add(name)
    return name


def final_model(outcomes: Outcomes) -> str | None:
    """The last named model that was evaluated, which is the experiment's result. Its exports are the same model."""
    evaluated = {s.model for s in outcomes.sheets.values() if s.kind != "export"}
    names = [n for n in named(outcomes) if n in evaluated and not n.endswith("/best")]
    return names[-1] if names else None


def swept_nodes(outcomes: Outcomes) -> dict[str, list[str]]:
    """Node -> names of its runs, for nodes that have some."""
    nodes: dict[str, list[str]] = {}
    for model in outcomes.models:
        if is_run(model) and model["name"] not in nodes.setdefault(model["node"], []):
            nodes[model["node"]].append(model["name"])
    return nodes
