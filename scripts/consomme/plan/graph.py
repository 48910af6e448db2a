"""An experiment's graph in one replicate: nodes → models, through sweeps, references, `where` and `by`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from consomme.plan import experiments, generations, halving, languages, relabelled, rungs, trials
from consomme.plan.corpora import Corpora
from consomme.plan.experiment_data import ExperimentData
from consomme.plan.items import BEST, Asked, Evaluation, Model, Prepared
from consomme.plan.load import Settings
from consomme.plan.problems import among, fail, section
from consomme.plan.schema import (
    VERBS,
    Experiment,
    Halving,
    Node,
    Relabelled,
)
from consomme.plan.selection import as_swept, run_name
from consomme.plan.sweeps import expand, settled
from consomme.plan.verbs import averaging, exporting, pruning, starting, training

MAKE = {
    "from": starting.make,
    "train": training.make,
    "average": averaging.make,
    "prune": pruning.make,
    "export": exporting.make,
}
MOST = 10_000  # models of a configuration: Snakemake plans for minutes, and more would be a mistake
LONGEST = 200  # bytes of a run's name, which is the name of a link
STAGES = {"from": "start", "train": "train", "average": "average", "prune": "prune", "export": "export"}


class Graphs:
    """The graphs of a configuration, each made on first use, because a corpus may be made by a model of another
    experiment."""

    def __init__(self, settings: Settings) -> None:
        self.experiments = settings.experiments
        self.corpora = Corpora(settings)
        self.visiting: list[tuple[str, str]] = []  # under construction: (experiment, node), or ("", corpus)
        self._made: dict[tuple[str, int], Graph] = {}

    def get(self, name: str, replicate: int) -> Graph:
        """The graph of an experiment in one replicate; its nodes are made as they are needed."""
        if (name, replicate) not in self._made:
            self._made[name, replicate] = Graph(name, self.experiments[name], replicate, self)
        return self._made[name, replicate]

    @property
    def models_made(self) -> int:
        """How many models there are by now, in all replicates of all experiments."""
        return sum(len(graph.models) for graph in self._made.values())

    @contextmanager
    def making(self, experiment: str, name: str, path: str) -> Generator[None]:
        """Mark a node or a corpus as under construction; ConfigurationError if it is already, which is a cycle."""
        if (experiment, name) in self.visiting:
            ring = [*self.visiting[self.visiting.index((experiment, name)) :], (experiment, name)]
            several = len({e for e, _ in ring if e}) > 1
            words = [f"{e}/{n}" if e and several else n if e else f"corpus {n}" for e, n in ring]
            fail(path, f"a cycle: {' → '.join(words)}")
        self.visiting.append((experiment, name))
        try:
            yield
        finally:
            self.visiting.pop()


class Graph:
    """The models of one experiment in one replicate."""

    def __init__(self, name: str, experiment: Experiment, replicate: int, graphs: Graphs) -> None:
        self.name, self.experiment, self.replicate = name, experiment, replicate
        self.path = f"experiments.{name}"
        self.written: Mapping[str, Any] = experiment.models  # the nodes as the configuration gives them
        self.graphs = graphs
        self.data_root = graphs.corpora.data_root
        self.data = ExperimentData(experiment, replicate, self.path, graphs.corpora, self._relabelled)
        task, written = experiment.task, self.data.written
        usual = experiments.default_metrics(task, written)
        named = experiment.metrics or {}
        self.commands = {name: scorer for name, scorer in named.items() if scorer}
        self.metric = experiment.metric or usual[0]
        self.metrics = [name for name in named if name not in self.commands] or usual
        self.normaliser = experiment.normaliser or ("basic" if task == "asr" else "verbatim")
        experiments.check(task, written, self.metric, self.metrics, self.normaliser, self.path)
        experiments.check_new(self.commands, f"{self.path}.metrics")
        self.metrics = [*self.metrics, *self.commands]
        self._nodes: dict[str, list[Model]] = {}
        self._expanded: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}

    def complete(self) -> Graph:
        """Make every node."""
        for node in self.experiment.models:
            self.node(node)
        return self

    # -- names ---------------------------------------------------------------------------------------------------------
    @property
    def models(self) -> list[Model]:
        """Every model, parents first. `best` is included for trained sweeps and given checkpoints, and for other nodes if
        something refers to it."""
        return [m for models in self._nodes.values() for m in models]

    @property
    def scored(self) -> list[Model]:
        """The models that are evaluated: all but those with random weights."""
        return [m for m in self.models if not m.random]

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.experiment.languages or ())

    def node(self, name: str) -> list[Model]:
        """All runs of a node."""
        if name not in self._nodes:
            with self.graphs.making(self.name, name, f"{self.path}.models.{name}"):
                made, best = self._make(name, self.written[name])
            self._nodes[name] = made
            self._refuse_twins(name, made)
            given = made[0].verb == "from" and self.data.dev and not made[0].random
            if best is None and len(made) > 1 and (made[0].verb == "train" or given):
                best = averaging.best(self, name, self._node_of(name), made, f"{self.path}.models.{name}")
            if best is not None:
                self._nodes[f"{name}/{BEST}"] = [best]
            elif self.keep(name) == BEST:
                fail(
                    f"{self.path}.models.{name}.keep",
                    "best is the best run of a sweep, and needs one and development sets; possible here: all, none",
                )
        return self._nodes[name]

    def keep(self, name: str) -> str:
        """Whose weights of a node stay once everything is made: all, best or none."""
        return self.written[name].get("keep") or "all"

    def resolve(self, reference: str, path: str, exports: bool = False) -> list[Model]:
        """NODE (all its runs), NODE/best, NODE/RUN. exports: whether they are allowed in the making of another node."""
        name, _, run = reference.partition("/")
        among(path, name, self.experiment.models, "model")
        runs = self.node(name)
        if runs[0].exported and self.graphs.visiting and not exports:
            fail(
                path,
                f"'{name}' is an export, and nothing can be made of an export; it can be chosen: method: smallest or fastest",
            )
        if not run:
            return runs
        if run == BEST:
            if len(runs) == 1:
                return runs
            if f"{name}/{BEST}" not in self._nodes:
                self._nodes[f"{name}/{BEST}"] = [averaging.best(self, name, self._node_of(name), runs, path)]
            return self._nodes[f"{name}/{BEST}"]
        among(path, run, [m.run for m in runs], f"run of {name}")
        return [m for m in runs if m.run == run]

    def one(self, reference: str, path: str) -> Model:
        """The single model that a reference names. ConfigurationError if it names several."""
        found = self.resolve(reference, path)
        if len(found) != 1:
            fail(path, f"'{reference}' has {len(found)} runs; name one of them: {reference}/best, or {found[0].name}")
        return found[0]

    # -- making --------------------------------------------------------------------------------------------------------
    def _make(self, name: str, raw: Any) -> tuple[list[Model], Model | None]:
        """The runs of a node, and the best of them if the sweep itself has chosen it."""
        path = f"{self.path}.models.{name}"
        if not isinstance(raw, Mapping):
            fail(path, f"a node is a mapping with one verb: {', '.join(VERBS)}")
        verbs = [verb for verb in VERBS if verb in raw]
        if len(verbs) != 1:
            given = ", ".join(map(str, raw)) or "nothing"
            fail(path, f"a node has exactly one verb ({', '.join(VERBS)}); given: {given}")
        verb = verbs[0]
        made: list[Model] = []
        before = self.graphs.models_made
        expanded, points = self._expand(name), []  # which checks the sweep
        searching = (raw.get("sweep") or {}).get("optuna") if verb == "train" else None
        for number, (point, settings) in enumerate(expanded, 1):
            node = _read(verb, settings, path)
            dump = node.model_dump(by_alias=True)
            own = {key: as_swept(point[key], settled(dump, key, point[key])) for key in sorted(point)}
            points.append(own)
            made += MAKE[verb](self, name, node, {trials.NUMBER: number} if searching else own, path)
            if before + len(made) > MOST:
                fail(
                    path, f"with it there are more than {MOST} models; take fewer values in sweeps, or fewer replicates"
                )
        if not made:
            fail(f"{path}.{verb}", "this names no model")
        if searching:
            return generations.grow(self, name, self._node_of(name), made, points, raw, path)
        if stopping := (raw.get("sweep") or {}).get("halving"):
            stopping = section(Halving, stopping, f"{path}.sweep.halving")
            made = halving.in_rungs(self, name, self._node_of(name), made, stopping, path)
        return made, None

    def model(
        self,
        name: str,
        own: dict[str, Any],
        verb: str,
        identity: dict[str, Any],
        *,
        inherit: bool = False,
        stage: str | None = None,
        parents: dict[str, Model] | None = None,
        **more: Any,
    ) -> Model:
        for parent in (parents or {}).values():
            if parent.ensemble:
                why = "an ensemble has no weights; it can be scored, teach and relabel"
                fail(f"{self.path}.models.{name}", f"'{parent.name}': {why}")
        run, swept = run_name(own), dict(own)
        if inherit and parents:
            parent = next(iter(parents.values()))
            if not self._names(name, parent):
                rungs.check_known(parent, f"{self.path}.models.{name}.{verb}")
            # if the parent was referenced as a whole node, its run's name becomes the child's; not if one run was named
            if parent.run not in ("", BEST) and not self._names(name, parent):
                run = ",".join(filter(None, [parent.run, run]))
            swept = {**parent.swept, **own}
            known = {a: getattr(parent, a) for a in ("family", "codes", "depth", "heads", "width", "vocabulary")}
            more = {**known, **more}
        return Model(
            self.name,
            name,
            run,
            str(self.replicate),
            verb,
            stage or STAGES[verb],
            identity,
            parents=parents or {},
            swept=swept,
            data_root=self.data_root,
            **more,
        )

    def _names(self, name: str, parent: Model) -> bool:
        """Whether the node refers explicitly to this run of its parent."""
        return any(self.written[name].get(verb) == parent.name for verb in VERBS)

    # -- evaluation ----------------------------------------------------------------------------------------------------
    def evaluations(self, opened: Mapping[str, Collection[str]] | None = None) -> list[Evaluation]:
        """One for every model, except those with random weights; an export is decoded by its own engine. opened: sealed test set -> the models,
        NODE-DIGEST, that may be decoded on it."""
        settings = {
            "task": self.experiment.task,
            "languages": self.languages,
            "normaliser": self.normaliser,
            "decoding": self.experiment.decoding.model_dump(),
            "decoding_digest": self.decoding_digest,
        }
        if besides := self._besides():
            settings["besides"] = besides
        every = [c for s in (*self.data.dev.values(), *self.data.test.values()) for c in s.values()]
        for model in self.scored:
            languages.check(model, every, self.path)
            exporting.check_engine(model, self.experiment.decoding.engine, f"{self.path}.decoding.engine")
        chosen = self._in_other_ways(self.scored)

        @cache
        def asked(closed: tuple[str, ...], ways: bool) -> Asked:
            test = {name: s for name, s in self.data.test.items() if name not in closed}
            sets = {"dev": self.data.dev, "test": test}
            corpora = {c.name: c for split in sets.values() for s in split.values() for c in s.values()}
            names = {"sets": {split: {name: list(s) for name, s in found.items()} for split, found in sets.items()}}
            return Asked(settings | names | ({} if ways else {"ways": False}), corpora)

        def evaluation(model: Model) -> Evaluation:
            closed = tuple(t for t in self.data.sealed if model.id not in (opened or {}).get(t, ()))
            return Evaluation(model, asked(closed, model.digest in chosen))

        return [evaluation(m) for m in self.scored]

    def _in_other_ways(self, scored: Sequence[Model]) -> set[str]:
        """The digests of the models that are decoded in other ways, too. By default all but the runs of a sweep: it costs as
        much again, and of those nobody deploys more than the best."""
        if (wanted := self.experiment.other_ways) is None:
            return {m.digest for m in scored if m.run in ("", BEST)}
        for i, name in enumerate(wanted):
            among(f"{self.path}.other_ways[{i}]", name, sorted({n for m in scored for n in (m.node, m.name)}), "model")
        return {m.digest for m in scored if m.name in wanted or m.node in wanted}

    def _besides(self) -> list[str]:
        """Of `timestamps` and `previous_text`, those that any training gives, 0 included: how well the models do at them
        is measured, too."""
        given = [s for name, raw in self.written.items() if "train" in raw for _, s in self._expand(name)]
        return [key for key in ("timestamps", "previous_text") if any(s.get(key) is not None for s in given)]

    @property
    def decoding(self) -> dict[str, Any]:
        """How transformers makes hypotheses: the settings without the engine that evaluations may use instead."""
        return {k: v for k, v in self.experiment.decoding.model_dump().items() if k != "engine"}

    @property
    def decoding_digest(self) -> str:
        return experiments.decoding_digest(self.experiment.decoding)

    # -- helpers -------------------------------------------------------------------------------------------------------
    def _relabelled(self, name: str, settings: Relabelled, path: str) -> Prepared:
        with self.graphs.making("", name, path):
            return relabelled.corpus(self, name, settings)

    def _node_of(self, name: str) -> Node:
        verb = next(v for v in VERBS if v in self.written[name])
        _, first = self._expand(name)[0]
        return _read(verb, first, f"{self.path}.models.{name}")

    def _expand(self, name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """The runs of a node as it is written: (swept keys and values, the node with them)."""
        if name not in self._expanded:
            self._expanded[name] = expand(self.written[name], f"{self.path}.models.{name}")
        return self._expanded[name]

    def _refuse_twins(self, name: str, made: list[Model]) -> None:
        names = [m.run for m in made]
        twins = sorted(run for run, count in Counter(names).items() if count > 1)
        if twins:
            fail(
                f"{self.path}.models.{name}",
                f"two runs are both named '{twins[0] or name}'; a swept key must tell them apart",
            )
        if long := next((run for run in names if len(run.encode()) > LONGEST), None):
            fail(
                f"{self.path}.models.{name}",
                f"a run's name is made of its swept keys and values; '{long[:60]}...' has {len(long.encode())} bytes, and "
                f"{LONGEST} are the most: sweep over fewer keys, or over shorter values",
            )
        if BEST in names:
            fail(f"{self.path}.models.{name}", "a run can't be named 'best'")
        first: dict[str, Model] = {}
        for model in made:
            twin = first.setdefault(model.id, model)
            if twin is not model:
                fail(
                    f"{self.path}.models.{name}",
                    f"'{twin.run}' and '{model.run}' are one model: what they differ in changes no result, so it can't be swept",
                )


def _read(verb: str, raw: Mapping[str, Any], path: str) -> Any:
    """A node without a sweep, checked."""
    return section(VERBS[verb], averaging.with_choice(raw, path) if verb == "average" else raw, path)
