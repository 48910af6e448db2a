"""Which landscapes a graph has: one for each set of three or more runs of one node that an average is made of."""

from __future__ import annotations

from consomme.plan.capabilities import averaging
from consomme.plan.graph import BEST, Graph, trained_on
from consomme.plan.items import Landscape, Model, Prepared

LEAST = 3  # runs: of two the path of an interpolation tells more


def landscapes(graph: Graph) -> list[Landscape]:
    """The landscapes of one replicate, in the order of the averages. None without a development set."""
    models: dict[tuple[str, ...], list[Model]] = {}
    averages: dict[tuple[str, ...], list[Model]] = {}
    for average in graph.models:
        for runs in _sweeps(average):
            key = tuple(m.digest for m in runs)
            models[key] = runs
            averages.setdefault(key, []).append(average)
    found = []
    for key, runs in models.items():
        sets, corpora = _judged(graph, averages[key], runs[0].node)
        # what a mix of weights needs, whichever method weighs them
        statistics = averaging.has_statistics("uniform", runs[0].family, graph.experiment.task)
        if sets:
            found.append(
                Landscape(
                    graph.name,
                    runs[0].node,
                    str(graph.replicate),
                    graph.experiment.task,
                    graph.languages,
                    tuple(runs),
                    tuple(sorted(m.name for m in averages[key])),
                    sets,
                    {name: list(corpora[name]) for name in sets},
                    {c.name: c for name in sets for c in corpora[name].values()},
                    trained_on(runs) if statistics else {},
                )
            )
    return found


def _sweeps(average: Model) -> list[list[Model]]:
    """The ingredients of an average of weights by the node whose runs they are, each in the order of their digests."""
    settings = average.identity["settings"]
    if average.verb != "average" or average.ensemble or averaging.is_choice(settings["method"]):
        return []
    ingredients = list(average.parents.values())[bool(settings.get("base")) :]
    by_node: dict[str, list[Model]] = {}
    for model in ingredients:
        if model.run not in ("", BEST):
            by_node.setdefault(model.node, []).append(model)
    return [sorted(runs, key=lambda m: m.digest) for runs in by_node.values() if len(runs) >= LEAST]


def _judged(graph: Graph, averages: list[Model], node: str) -> tuple[dict[str, float], dict[str, dict[str, Prepared]]]:
    """Set -> weight and set -> corpora: of the sweep where it says what its best run is chosen on, else of the averages
    that say it (the first by name), else all. Sets that only limit a choice are left out."""
    best = [m for m in graph.models if m.node == node and m.run == BEST]
    naming = [*best, *sorted(averages, key=lambda m: m.name)]
    naming = [m for m in naming if graph.written[m.node].get("choose_on")]
    for model in naming:
        choice = model.identity["settings"].get("choose_on")
        if choice:
            sets = {name: s["weight"] for name, s in choice["sets"].items() if s.get("weight")}
            dev = model.identity["dev"]
            return sets, {name: {c: model.corpora[c] for c in dev[name]} for name in sets}
    return dict.fromkeys(graph.data.dev, 1.0), graph.data.dev
