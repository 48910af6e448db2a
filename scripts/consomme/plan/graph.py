"""An experiment's graph in one replicate: nodes → models, through sweeps, references, `where` and `by`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from consomme.families import TABLE as FAMILIES
from consomme.plan import relabelled
from consomme.plan.capabilities import averaging, experiments, exporting, pruning, starting, training
from consomme.plan.choices import NO_CHOICE, choice, no_constraints
from consomme.plan.corpora import Corpora
from consomme.plan.experiment_data import ExperimentData
from consomme.plan.items import Evaluation, Model, Prepared
from consomme.plan.load import Settings
from consomme.plan.problems import among, fail, section
from consomme.plan.schema import (
    VERBS,
    Augment,
    AverageNode,
    Experiment,
    ExportNode,
    FromNode,
    Node,
    PruneNode,
    Relabelled,
    TrainNode,
)
from consomme.plan.selection import as_swept, groups, run_name, selected
from consomme.plan.sweeps import expand, settled

STAGES = {"from": "start", "train": "train", "average": "average", "prune": "prune", "export": "export"}
BEST = "best"
BATCH_SIZE = 16  # utterances or sentences


class Graphs:
    """The graphs of a configuration, each made when it is first asked for: a corpus may be made by a model of another
    experiment."""

    def __init__(self, settings: Settings) -> None:
        self.experiments = settings.experiments
        self.corpora = Corpora(settings)
        self.visiting: list[tuple[str, str]] = []  # what is being made: (experiment, node), or ("", corpus)
        self._made: dict[tuple[str, int], Graph] = {}

    def get(self, name: str, replicate: int) -> Graph:
        """The graph of an experiment in one replicate; its nodes are made as they are needed."""
        if (name, replicate) not in self._made:
            self._made[name, replicate] = Graph(name, self.experiments[name], replicate, self)
        return self._made[name, replicate]

    @contextmanager
    def making(self, experiment: str, name: str, path: str) -> Generator[None]:
        """While a node or a corpus is being made, nothing that it is made of can be made of it."""
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
        self._data_root = graphs.corpora.data_root
        self.metric = experiment.metric or experiments.METRICS_BY_TASK[experiment.task][0]
        self.metrics = experiment.metrics or experiments.METRICS_BY_TASK[experiment.task]
        self.normaliser = experiment.normaliser or ("basic" if experiment.task == "asr" else "verbatim")
        experiments.check(experiment, self.metric, self.metrics, self.normaliser, self.path)
        self.data = ExperimentData(experiment, replicate, self.path, graphs.corpora, self._relabelled)
        self._nodes: dict[str, list[Model]] = {}

    def complete(self) -> Graph:
        """Make every node."""
        for node in self.experiment.models:
            self.node(node)
        return self

    # -- names ---------------------------------------------------------------------------------------------------------
    @property
    def models(self) -> list[Model]:
        """Every model, parents first; `best` of a trained sweep and of checkpoints given always, of other runs where
        something names it."""
        return [m for models in self._nodes.values() for m in models]

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.experiment.languages)

    def node(self, name: str) -> list[Model]:
        """All runs of a node."""
        if name not in self._nodes:
            with self.graphs.making(self.name, name, f"{self.path}.models.{name}"):
                made = self._make(name, self.written[name])
            self._nodes[name] = made
            self._refuse_twins(name, made)
            given = made[0].verb == "from" and self.data.dev and not made[0].random
            if len(made) > 1 and (made[0].verb == "train" or given):
                self._nodes[f"{name}/{BEST}"] = [self._best(name, made)]
        return self._nodes[name]

    def resolve(self, reference: str, path: str) -> list[Model]:
        """NODE (all its runs), NODE/best, NODE/RUN."""
        name, _, run = reference.partition("/")
        among(path, name, self.experiment.models, "model")
        runs = self.node(name)
        if runs[0].verb == "export" and self.graphs.visiting:
            fail(path, f"'{name}' is an export, and an export only ends")
        if not run:
            return runs
        if run == BEST:
            if len(runs) == 1:
                return runs
            if f"{name}/{BEST}" not in self._nodes:
                self._nodes[f"{name}/{BEST}"] = [self._best(name, runs)]
            return self._nodes[f"{name}/{BEST}"]
        among(path, run, [m.run for m in runs], f"run of {name}")
        return [m for m in runs if m.run == run]

    def one(self, reference: str, path: str) -> Model:
        """A reference that must be a single model."""
        found = self.resolve(reference, path)
        if len(found) != 1:
            fail(path, f"'{reference}' has {len(found)} runs; one is wanted: {reference}/best, or {found[0].name}")
        return found[0]

    # -- making --------------------------------------------------------------------------------------------------------
    def _make(self, name: str, raw: Any) -> list[Model]:
        path = f"{self.path}.models.{name}"
        if not isinstance(raw, Mapping):
            fail(path, f"a node is a mapping with one verb: {', '.join(VERBS)}")
        verbs = [verb for verb in VERBS if verb in raw]
        if len(verbs) != 1:
            given = ", ".join(map(str, raw)) or "nothing"
            fail(path, f"a node has exactly one verb ({', '.join(VERBS)}); given: {given}")
        verb = verbs[0]
        made: list[Model] = []
        for point, settings in expand(raw, path):
            node = section(VERBS[verb], settings, path)
            dump = node.model_dump(by_alias=True)
            own = {key: as_swept(point[key], settled(dump, key, point[key])) for key in sorted(point)}
            make: dict[type[Node], Callable[..., list[Model]]] = {
                FromNode: self._from,
                TrainNode: self._train,
                AverageNode: self._average,
                PruneNode: self._prune,
                ExportNode: self._export,
            }
            made += make[VERBS[verb]](name, node, own, path)
        if not made:
            fail(f"{path}.{verb}", "this names no model")
        return made

    def _from(self, name: str, node: FromNode, own: dict[str, Any], path: str) -> list[Model]:
        start = node.from_
        if start.scratch is None:
            return self._fetched(name, node, own, path)
        scratch, tokenizer, family = starting.scratch(
            start.scratch, start.tokenizer, self.experiment.task, f"{path}.from"
        )
        identity, corpora = self._drawn({"scratch": scratch, "tokenizer": tokenizer}, node, path)
        stacks = FAMILIES[family].stacks
        depth = {side: int(scratch[starting.key_in_scratch(stack.count)]) for side, stack in stacks.items()}
        heads = {side: int(scratch[starting.key_in_scratch(stack.heads)]) for side, stack in stacks.items()}
        width = {
            stack.width: int(scratch[starting.key_in_scratch(stack.width)]) for stack in stacks.values() if stack.width
        }
        known: dict[str, Any] = {"family": family, "depth": depth, "heads": heads, "width": width}
        return [self._model(name, own, "from", identity, corpora=corpora, **known)]

    def _fetched(self, name: str, node: FromNode, own: dict[str, Any], path: str) -> list[Model]:
        """Checkpoints: each as it is, or with a new head where a tokenizer is given."""
        start = node.from_
        if start.hub is not None:
            places: list[tuple[dict[str, Any], dict[str, Any]]] = [(own, {"hub": start.hub.model_dump()})]
        elif start.folder is not None:
            places = [(own, {"folder": start.folder})]
        else:
            folders = starting.checkpoint_folders(start.folders or [], Path(self._data_root), f"{path}.from.folders")
            places = [(own | {"folder": label}, {"folder": str(folder)}) for label, folder in folders.items()]
        made = []
        for point, settings in places:
            known: dict[str, Any] = {}
            if "folder" in settings:
                folder = Path(self._data_root) / settings["folder"]
                known = starting.read_checkpoint(folder) | {"sources": starting.files_in(folder)}
                starting.check_head(folder, start.tokenizer, f"{path}.from")
            if start.tokenizer:
                tokenizer = starting.new_tokenizer(
                    start.tokenizer, known.get("family"), self.experiment.task, f"{path}.from.tokenizer"
                )
                identity, known["corpora"] = self._drawn({**settings, "tokenizer": tokenizer}, node, path)
            else:
                # the same in every replicate, so neither seed nor languages belong to it
                identity = {"task": self.experiment.task, "settings": settings}
            made.append(self._model(name, point, "from", identity, **known))
        return made

    def _drawn(self, settings: dict[str, Any], node: FromNode, path: str) -> tuple[dict[str, Any], dict[str, Prepared]]:
        """The identity of a model with random weights and a tokenizer made of training texts, and their corpora."""
        _, corpora = self.data.training(self.data.of(node.data), f"{path}.data.train")
        identity = {
            "task": self.experiment.task,
            "settings": settings,
            "languages": self.languages,
            "seed": self.replicate,
        }
        return identity, corpora

    def _train(self, name: str, node: TrainNode, own: dict[str, Any], path: str) -> list[Model]:
        data = self.data.of(node.data)
        # a recogniser that learns from its teacher alone may need no transcripts: its family tells
        alone = node.distil is not None and node.distil.weight == 1 and self.experiment.task == "asr"
        weights, corpora = self.data.training(data, f"{path}.data.train", "target" if alone else None)
        settings = node.model_dump(
            by_alias=True, exclude={"train", "data", "augment", "sweep", "distil_from", "metric", "choose_on", "distil"}
        )
        settings.setdefault("momentum", None)  # as when it was a key of every optimizer: no spec moves
        if not (node.batch_seconds or node.batch_tokens) and node.per_device_train_batch_size is None:
            settings["per_device_train_batch_size"] = BATCH_SIZE
        augment = node.augment or self.experiment.augment
        # what is not named is no part of the identity, so that a new kind of augmentation moves no old model
        settings["augment"] = (augment or Augment()).model_dump(exclude_none=True)
        sources = training.recordings(settings["augment"], Path(self._data_root))
        distil = node.distil.model_dump() if node.distil else {"weight": 0.5, "temperature": 2.0}
        settings["distil"] = distil if node.distil_from else None
        made = []
        for parent in self.resolve(node.train, f"{path}.train"):
            teachers = {}
            if node.distil_from:
                teacher = self._partner(node.distil_from, parent, f"{path}.distil_from")
                teachers = {teacher.name: teacher}
                training.check_distilling(node, parent, teacher, corpora, path)
            training.check(node, settings, parent, self.experiment.task, path)
            chosen = NO_CHOICE
            if node.eval_steps:
                goals = no_constraints(node.choose_on, path)
                chosen = choice(self, goals, node.metric or self.metric, data, path)
            identity = {
                "task": self.experiment.task,
                "languages": self.languages,
                "seed": self.replicate,
                "settings": {**settings, "choose_on": chosen.settings},
                "train": weights,
                "share": data.share,
                **chosen.identity,
            }
            made.append(
                self._model(
                    name,
                    own,
                    "train",
                    identity,
                    parents={parent.name: parent},
                    teachers=teachers,
                    references=chosen.references,
                    corpora={**corpora, **chosen.corpora},
                    sources=sources,
                    inherit=True,
                )
            )
        return made

    def _average(self, name: str, node: AverageNode, own: dict[str, Any], path: str) -> list[Model]:
        averaging.check(node, path)
        pool = [m for ref in node.average for m in self.resolve(ref, f"{path}.average")]
        pool = list({m.id: m for m in pool}.values())
        pool = selected(pool, node.where, f"{path}.where")
        made = []
        for values, group in groups(pool, node.by, f"{path}.by"):
            averaging.check_ingredients(node, group, path)
            settings = averaging.settings(node)
            if (base := self._base(node, group, path)) is not None:
                settings["base"] = True  # the first parent; its name is no part of the identity
                group = [base, *group]
            if averaging.seeded(node):
                settings["seed"] = self.replicate
            choose = averaging.chooses(node)
            made.append(self._chosen_average(name, own | values, "average", settings, group, node, path, choose))
        return made

    def _base(self, node: AverageNode, group: list[Model], path: str) -> Model | None:
        """The model whose difference from the ingredients counts, for methods that have one: as named, else the one
        model that all of them were trained from."""
        if not averaging.has_base(node):
            return None
        if (named := getattr(node, "base", None)) is not None:
            base = self.one(named, f"{path}.base")
        else:
            found = {p.id: p for m in group for p in m.parents.values()}
            if len(found) != 1:
                names = ", ".join(p.name for p in found.values()) or "none"
                fail(f"{path}.base", f"{node.method} needs the model that all were tuned from; their parents: {names}")
            base = next(iter(found.values()))
        if base.id in {m.id for m in group}:
            fail(f"{path}.base", f"'{base.name}' is one of the models that are averaged")
        return base

    def _best(self, name: str, runs: list[Model]) -> Model:
        """NODE/best: a soup of one, the best run on the development sets."""
        path = f"{self.path}.models.{name}"
        node = self._node_of(name)
        settings = {"method": "best_run"}
        best = self._chosen_average(name, {}, runs[0].verb, settings, runs, node, path, True)
        return replace(best, run=BEST)

    def _chosen_average(
        self,
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
            metric = self.metric if metric is None or isinstance(node, PruneNode) else metric
            data, goals = self.data.of(getattr(node, "data", None)), getattr(node, "choose_on", None)
            if not averaging.holds_limits(settings["method"]):
                goals = no_constraints(goals, path)
            limits = averaging.needs_limits(settings["method"])
            rank_by = settings.get("rank_by")
            chosen = choice(self, goals, metric, data, path, rank_by, limits=settings["method"] if limits else None)
        settings["choose_on"] = chosen.settings
        identity = {"task": self.experiment.task, "settings": settings, **chosen.identity}
        # a choice may be among models of different shapes
        known = {a: averaging.common([getattr(m, a) for m in group]) for a in ("family", "depth", "heads", "width")}
        statistics = {}
        if averaging.has_statistics(settings["method"], known["family"], self.experiment.task):
            statistics = trained_on(group)
        return self._model(
            name,
            own,
            verb,
            identity,
            parents={m.name: m for m in group},
            references=chosen.references,
            corpora=chosen.corpora,
            statistics=statistics,
            stage="average",
            **known,
        )

    def _prune(self, name: str, node: PruneNode, own: dict[str, Any], path: str) -> list[Model]:
        settings = node.model_dump(by_alias=True, exclude={"prune", "sweep", "choose_on", "metric"})
        made = []
        for parent in self.resolve(node.prune, f"{path}.prune"):
            depth = pruning.depth_left(node, parent, path, swept=bool(own))
            heads = pruning.heads_left(node, parent, depth, path)
            width = pruning.width_left(node, parent, path)
            chosen = NO_CHOICE
            if pruning.searches(node):
                goals = no_constraints(node.choose_on, path)
                chosen = choice(self, goals, node.metric, self.data.of(None), path)
            identity: dict[str, Any] = {
                "task": self.experiment.task,
                "settings": {**settings, "choose_on": chosen.settings},
                **chosen.identity,
            }
            if pruning.draws(node):
                identity["seed"] = self.replicate
            made.append(
                self._model(
                    name,
                    own,
                    "prune",
                    identity,
                    parents={parent.name: parent},
                    corpora=chosen.corpora,
                    references=chosen.references,
                    depth=depth,
                    heads=heads,
                    width=width,
                    inherit=True,
                )
            )
        return made

    def _export(self, name: str, node: ExportNode, own: dict[str, Any], path: str) -> list[Model]:
        settings = node.model_dump(by_alias=True, exclude={"export", "sweep"})
        made = []
        for parent in self.resolve(node.export, f"{path}.export"):
            exporting.check(node, parent, path)
            # a few development examples show that the export says what the model says
            dev = dict(list(self.data.dev.items())[:1])
            identity = {
                "task": self.experiment.task,
                "languages": self.languages,
                "settings": settings,
                "dev": {s: list(c) for s, c in dev.items()},
                "decoding": self.experiment.decoding.model_dump(),
                "normaliser": self.normaliser,
            }
            corpora = {c.name: c for s in dev.values() for c in s.values()}
            made.append(
                self._model(name, own, "export", identity, parents={parent.name: parent}, corpora=corpora, inherit=True)
            )
        return made

    def _model(
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
            # naming a node names all its runs, and they name the child's; a run named by itself makes no family
            if parent.run not in ("", BEST) and not self._names(name, parent):
                run = ",".join(filter(None, [parent.run, run]))
            swept = {**parent.swept, **own}
            known = {a: getattr(parent, a) for a in ("family", "depth", "heads", "width")}
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
            data_root=self._data_root,
            **more,
        )

    def _names(self, name: str, parent: Model) -> bool:
        """Whether the node's own text names this very run of its parent."""
        return any(self.written[name].get(verb) == parent.name for verb in VERBS)

    def _partner(self, reference: str, student: Model, path: str) -> Model:
        """The teacher of a student: the one model of that name, or the run of the same name."""
        found = self.resolve(reference, path)
        if len(found) > 1:
            found = [m for m in found if m.run and f"{student.run},".startswith(f"{m.run},")] or found
        if len(found) != 1:
            fail(path, f"'{reference}' has {len(found)} runs and none is named like {student.name}; name one of them")
        return found[0]

    # -- evaluation ----------------------------------------------------------------------------------------------------
    def evaluations(self) -> list[Evaluation]:
        """One for every model but exports, and random weights, which say nothing."""
        sets = {"dev": self.data.dev, "test": self.data.test}
        corpora = {c.name: c for split in sets.values() for s in split.values() for c in s.values()}
        settings = {
            "task": self.experiment.task,
            "languages": self.languages,
            "normaliser": self.normaliser,
            "decoding": self.experiment.decoding.model_dump(),
            "decoding_digest": self.decoding_digest,
            "sets": {split: {name: list(s) for name, s in found.items()} for split, found in sets.items()},
        }
        return [Evaluation(m, settings, corpora) for m in self.models if m.verb != "export" and not m.random]

    @property
    def decoding_digest(self) -> str:
        return experiments.decoding_digest(self.experiment.decoding)

    # -- helpers -------------------------------------------------------------------------------------------------------
    def _relabelled(self, name: str, settings: Relabelled, path: str) -> Prepared:
        with self.graphs.making("", name, path):
            return relabelled.corpus(self, name, settings)

    def _node_of(self, name: str) -> Node:
        raw = self.written[name]
        verb = next(v for v in VERBS if v in raw)
        _, first = expand(raw, f"{self.path}.models.{name}")[0]
        return section(VERBS[verb], first, f"{self.path}.models.{name}")

    def _refuse_twins(self, name: str, made: list[Model]) -> None:
        names = [m.run for m in made]
        twins = sorted({run for run in names if names.count(run) > 1})
        if twins:
            fail(
                f"{self.path}.models.{name}",
                f"two runs are both named '{twins[0] or name}'; a swept key must tell them apart",
            )
        if BEST in names:
            fail(f"{self.path}.models.{name}", "a run can't be named 'best'")


def trained_on(models: Iterable[Model]) -> dict[str, tuple[Prepared, float]]:
    """The corpora that models or, where these were made of others, their parents were trained on, and their weights,
    summed over the models."""
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
