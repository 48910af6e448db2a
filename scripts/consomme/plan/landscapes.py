"""The landscapes of a graph: one for each set of three or more runs of one node that an average is made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from consomme.common.digest import digest
from consomme.plan import rungs
from consomme.plan.graph import Graph
from consomme.plan.items import BEST, RESULTS, Model, Prepared, as_spec
from consomme.plan.stages import VERSIONS
from consomme.plan.verbs import averaging

LEAST = 3  # runs; for two, the interpolation path shows more


@dataclass(frozen=True, eq=False)
class Landscape:
    """The development loss in weight space between the runs of one node that averages are made of."""

    experiment: str
    node: str
    replicate: str
    task: str
    languages: tuple[str, ...]
    # the ingredients, sorted by digest: the same set is one landscape in whatever order it is listed
    models: tuple[Model, ...]
    # names of the averages of exactly these runs; for the report only
    averages: tuple[str, ...]
    # development set -> weight
    sets: dict[str, float]
    # development set -> its corpora
    dev: dict[str, list[str]]
    corpora: dict[str, Prepared]
    # as Model.statistics
    statistics: dict[str, tuple[Prepared, float]]

    @cached_property
    def digest(self) -> str:
        """A digest of the models and the rows, not of the averages made of the models."""
        return digest(
            {
                "stage": "landscape",
                "version": VERSIONS["landscape"],
                "evaluator": VERSIONS["evaluate"],
                "task": self.task,
                "languages": self.languages,
                "sets": self.sets,
                "dev": self.dev,
                "models": [m.digest for m in self.models],
                "corpora": {name: c.digest for name, c in self.corpora.items()},
            }
        )

    @property
    def path(self) -> str:
        return f"{RESULTS}/{self.experiment}/landscape/{self.digest}.json"

    @property
    def id(self) -> str:
        """The name of the folder for its unfinished work."""
        return f"landscape-{self.digest}"

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Label: file, in the order of the spec."""
        return {
            **{f"parent/{m.name}": m.content for m in self.models},
            **{f"corpus/{name}": c.marker for name, c in self.corpora.items()},
            **{f"statistics/{name}": c.marker for name, (c, _) in self.statistics.items()},
        }

    @cached_property
    def spec(self) -> str:
        choice = {"metric": "loss", "sets": {name: {"weight": weight} for name, weight in self.sets.items()}}
        more = {"statistics": {n: weight for n, (_, weight) in self.statistics.items()}} if self.statistics else {}
        return as_spec(
            {
                "stage": "landscape",
                "version": VERSIONS["landscape"],
                "digest": self.digest,
                "label": {"experiment": self.experiment, "node": self.node, "replicate": self.replicate},
                "task": self.task,
                "languages": self.languages,
                "settings": {"choose_on": choice},
                "dev": self.dev,
                **more,
                "inputs": list(self.inputs),
            }
        )


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
        # any average of weights needs these, whatever the method
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
                    averaging.trained_on(runs) if statistics else {},
                )
            )
    return found


def _sweeps(average: Model) -> list[list[Model]]:
    """The ingredients of an average of weights, grouped by their node, each group sorted by digest."""
    settings = average.identity["settings"]
    if average.verb != "average" or average.ensemble or averaging.picks(settings["method"]):
        return []
    ingredients = list(average.parents.values())[bool(settings.get("base")) :]
    by_node: dict[str, list[Model]] = {}
    for model in ingredients:
        if model.run not in ("", BEST):
            by_node.setdefault(model.node, []).append(model)
    return [sorted(runs, key=lambda m: m.digest) for runs in by_node.values() if rungs.at_the_end(runs) >= LEAST]


def _judged(graph: Graph, averages: list[Model], node: str) -> tuple[dict[str, float], dict[str, dict[str, Prepared]]]:
    """(set -> weight, set -> corpora), from choose_on of the sweep, else of the averages (the first by name that has
    it), else all development sets. Sets that only limit a choice are left out."""
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
