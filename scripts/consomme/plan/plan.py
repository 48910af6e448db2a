"""The plan: what the rules read of a configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from consomme.common import extras
from consomme.common.digest import canonical, digest
from consomme.common.files import hash_file, write_json
from consomme.data.sources import TABLE as SOURCES
from consomme.evaluate.metrics import TERMS
from consomme.formats import TABLE as FORMATS
from consomme.plan import rungs, seals
from consomme.plan.before import corpora_before
from consomme.plan.graph import Graph, Graphs
from consomme.plan.items import RESULTS, Evaluation, Model, Prepared
from consomme.plan.landscapes import Landscape, landscapes
from consomme.plan.load import Settings, check
from consomme.plan.problems import ConfigurationError, among, fail
from consomme.plan.relabelled import RelabelledCorpus
from consomme.plan.stages import VERSIONS
from consomme.plan.verbs import averaging
from consomme.train.optimizers import TABLE as OPTIMIZERS
from consomme.train.trackers import TABLE as TRACKERS

UNORDERED = ("models", "nodes", "landscapes")  # lists in the order of the configuration
NOTHING = r"[^\w\W]"  # a pattern that no name matches


@dataclass(frozen=True, eq=False)
class Study:
    """One experiment with all its replicates."""

    name: str
    graphs: dict[str, Graph]

    @property
    def first(self) -> Graph:
        return next(iter(self.graphs.values()))

    @property
    def folder(self) -> str:
        return f"{RESULTS}/{self.name}"

    @cached_property
    def models(self) -> list[Model]:
        """Every model of every replicate, parents first."""
        return [m for g in self.graphs.values() for m in g.models]

    @cached_property
    def jobs(self) -> list[Model]:
        """Every model of every replicate, and before each run its rungs, choices and studies."""
        return [*{id(job): job for m in self.models for job in rungs.jobs(m)}.values()]

    @cached_property
    def evaluations(self) -> list[Evaluation]:
        return [e for found in self.evaluated.values() for e in found]

    @cached_property
    def evaluated(self) -> dict[str, list[Evaluation]]:
        """Replicate -> its evaluations."""
        found = {r: g.evaluations(self.opened) for r, g in self.graphs.items()}
        asked: dict[str, set[str]] = {}
        for evaluation in chain.from_iterable(found.values()):
            asked.setdefault(evaluation.model.id, set()).add(evaluation.digest)
        return {r: [replace(e, apart=len(asked[e.model.id]) > 1) for e in among] for r, among in found.items()}

    @cached_property
    def opened(self) -> seals.Opened:
        """Sealed test set -> the models, NODE-DIGEST, that its seal was broken for."""
        return seals.opened(self.folder, self.first.data.sealed)

    @cached_property
    def landscapes(self) -> list[Landscape]:
        return [found for g in self.graphs.values() for found in landscapes(g)]

    @cached_property
    def costed(self) -> list[Model]:
        """The models whose size and speed are measured: those that are scored."""
        return [e.model for e in self.evaluations]

    @cached_property
    def exports(self) -> list[Model]:
        return [m for m in self.models if m.verb == "export"]

    @cached_property
    def claims(self) -> list[dict[str, Any]]:
        """The claims with their models' full names, one metric each."""
        path = f"experiments.{self.name}.claims"
        found = []
        for i, claim in enumerate(self.first.experiment.claims, 1):
            here = f"{path}.{i}"
            hypothesis = "beats" if claim.beats is not None else "keeps"
            against = claim.beats if claim.beats is not None else claim.keeps
            # in every replicate: that makes a choice that nothing else names
            (model, other), *_ = [(g.one(claim.model, here), g.one(str(against), here)) for g in self.graphs.values()]
            scored = {m.name for m in self.first.scored}
            for named in (model, other):
                if named.name not in scored:
                    fail(here, f"'{named.name}' is not scored, because its weights are random")
            metric = claim.metric or self.first.metric
            among(f"{here}.on", claim.on, self.first.data.test, "test set")
            terms = [name for name in TERMS if name.replace("-", "_") in self.terms]
            among(f"{here}.metric", metric, [*self.first.metrics, *terms], "reported metric")
            found.append(
                {
                    "model": model.name,
                    "hypothesis": hypothesis,
                    "against": other.name,
                    "on": claim.on,
                    "metric": metric,
                    "margin": claim.margin or 0.0,
                }
            )
        return found

    @cached_property
    def glossary(self) -> Path | None:
        """The file of terms, if one is named."""
        given = self.first.experiment.glossary
        return Path(self.first.data_root) / given if given else None

    @cached_property
    def terms(self) -> dict[str, Any]:
        """What the report's spec says of words whose recall is asked for. A changed glossary makes another spec."""
        found: dict[str, Any] = {}
        if self.first.experiment.rare_words is not None:
            found["rare_words"] = self.first.experiment.rare_words
        if path := self.glossary:
            found |= {"glossary": str(path), "glossary_content": hash_file(path) if path.is_file() else ""}
        return found

    @cached_property
    def scorers(self) -> dict[str, Any]:
        """What the report's spec says of programs that score rows. A changed file that a command names makes another spec."""
        commands = {name: c.model_dump() for name, c in self.first.commands.items()}
        named = sorted({word for c in commands.values() for word in c["command"] if Path(word).is_file()})
        files = {"commands_content": {word: hash_file(word) for word in named}} if named else {}
        return {"commands": commands, **files} if commands else {}

    @cached_property
    def report(self) -> dict[str, Any]:
        """The spec of the report stage. It names every model, so it is passed as a file."""
        evaluation = {(r, e.model.id): e.path for r, found in self.evaluated.items() for e in found}
        several = len(self.graphs) > 1
        key = {r: (r if several else "") for r in self.graphs}
        models = [
            {
                "name": m.name,
                "node": m.node,
                "run": m.run,
                "verb": m.verb,
                "replicate": key[r],
                "digest": m.digest,
                "folder": m.folder,
                "evaluation": evaluation.get((r, m.id)),
                "parents": list(m.parents),
                "swept": m.swept,
                # a method that chooses among its models makes no average, so it isn't compared with its ingredients
                **(
                    {"choice": True}
                    if m.stage == "average" and averaging.picks(m.identity["settings"]["method"])
                    else {}
                ),
            }
            for r, g in self.graphs.items()
            for m in g.models
        ]
        asked = {r: {t for e in found for t in e.settings["sets"]["test"]} for r, found in self.evaluated.items()}
        sets = {
            key[r]: {
                "dev": {name: list(s) for name, s in g.data.dev.items()},
                "test": {t: list(s) for t, s in g.data.test.items() if t in g.data.open or t in asked[r]},
            }
            for r, g in self.graphs.items()
        }
        train = {
            key[r]: {m.node: sorted(set(m.identity.get("train") or ())) for m in g.models if m.stage == "train"}
            for r, g in self.graphs.items()
        }
        read = {
            key[r]: {node: sorted(names) for node, names in _read(g.models).items()} for r, g in self.graphs.items()
        }
        needed = {c.name: c.folder for e in self.evaluations for c in e.corpora.values()}
        needed |= {c.name: c.folder for m in self.models for c in _corpora(m)}
        before = _before(self.models)
        needed |= {c: folder for found in before.values() for c, (_, folder) in found.items() if folder}
        tested = [seals.tested(self.graphs.values(), self.opened, claim) for claim in self.claims]
        sealed = [claim for claim, now in zip(self.claims, tested, strict=True) if not now]
        g = self.first
        return {
            "stage": "report",
            "version": VERSIONS["report"],
            "experiment": self.name,
            "task": g.experiment.task,
            "languages": list(g.languages),
            "metric": g.metric,
            "metrics": g.metrics,
            "normaliser": g.normaliser,
            "decoding_digest": g.decoding_digest,
            "decoding": g.experiment.decoding.model_dump(),
            "units": g.experiment.units,
            "replicates": list(key.values()),
            "sets": sets,
            "train": train,
            "read": read,
            **(
                {"before": {n: {c: content for c, (content, _) in f.items()} for n, f in before.items()}}
                if before
                else {}
            ),
            "models": models,
            "landscapes": [
                {"node": s.node, "averages": list(s.averages), "replicate": key[s.replicate], "path": s.path}
                for s in self.landscapes
            ],
            "claims": [claim for claim, now in zip(self.claims, tested, strict=True) if now],
            "register": seals.register(self.folder, list(self.graphs.values()), self.opened, sealed),
            **({"by": g.experiment.by} if g.experiment.by else {}),
            **self.scorers,
            **self.terms,
            "corpora": needed,
            "costs": f"{self.folder}/costs.tsv",
        }

    @cached_property
    def costs(self) -> dict[str, Any]:
        """The spec of the job that measures size and speed."""
        g = self.first
        sets = g.data.dev or g.data.open
        if not sets:
            more = "; what is sealed isn't decoded" if g.data.sealed else ""
            fail(f"experiments.{self.name}.data", f"no set to score models on: give dev, test or both{more}")
        corpora = next(iter(sets.values()))
        return {
            "stage": "report",
            "version": VERSIONS["report"],
            "experiment": self.name,
            "task": g.experiment.task,
            "languages": list(g.languages),
            # speeds are those of transformers, or of an export's own engine
            "decoding": g.decoding,
            "sets": list(corpora),
            "corpora": {c.name: c.folder for c in corpora.values()},
            "models": [
                {"name": m["name"], "replicate": m["replicate"], "folder": m["folder"]}
                for m in self.report["models"]
                if m["evaluation"]
            ],
        }

    @cached_property
    def picture(self) -> dict[str, Any]:
        """The spec of the model graph's picture: one box per node, its runs folded."""
        nodes: dict[str, dict[str, Any]] = {}
        for m in self.first.models:
            best = m.run == "best" and m.stage == "average"
            name = m.name if best else m.node
            node = nodes.setdefault(
                name, {"name": name, "verb": m.verb, "runs": 0, "parents": [], "detail": _detail(m, best)}
            )
            node["runs"] += 1
            labellers = [p for c in m.corpora.values() if isinstance(c, RelabelledCorpus) for p in c.models]
            for p in (*m.parents.values(), *m.teachers.values(), *(p for p in labellers if p.experiment == self.name)):
                parent = p.name if p.run == "best" and p.stage == "average" else p.node
                if parent not in node["parents"]:
                    node["parents"].append(parent)
        return {
            "experiment": self.name,
            "nodes": list(nodes.values()),
            "scores": f"{self.folder}/scores.tsv",
            "metric": self.first.metric,
            "decoding": self.first.decoding_digest,
        }

    def spec_file(self, kind: str) -> str:
        """The file of the spec of `report`, `costs` or `picture`. Its name holds the spec's digest."""
        spec = getattr(self, kind)
        # the order of the nodes in the configuration only decides the order of display
        unordered = {k: sorted(map(canonical, v)) if k in UNORDERED else v for k, v in spec.items()}
        return f"{self.folder}/plan/{kind}-{digest(unordered)}.json"

    def write_specs(self) -> None:
        """Write the specs that are too long for a command line. The name holds a digest, so a file is never stale."""
        for kind in ("report", "costs", "picture"):
            path = Path(self.spec_file(kind))
            if not path.exists():
                write_json(path, getattr(self, kind))


class Plan:
    """Corpora, models, evaluations, landscapes and studies of one configuration."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.settings: Settings = check(raw)
        graphs = Graphs(self.settings)
        self.studies: dict[str, Study] = {}
        problems: list[str] = []
        for name, experiment in self.settings.experiments.items():
            try:
                replicates = list(experiment.repeat)
                if not replicates or len(set(replicates)) < len(replicates):
                    fail(f"experiments.{name}.repeat", f"the seeds must differ; given: {replicates}")
                study = Study(name, {str(r): graphs.get(name, r).complete() for r in replicates})
                _ = study.claims, study.costs
                self.studies[name] = study
            except ConfigurationError as error:
                problems.append(str(error))
        if problems:
            raise ConfigurationError("\n".join(dict.fromkeys(problems)))
        seals.refuse_open_twins(graph for study in self.studies.values() for graph in study.graphs.values())
        self.corpora: dict[str, Prepared] = {c.id: c for c in graphs.corpora.all()}
        self.models: dict[str, Model] = {}
        for study in self.studies.values():
            for model in study.jobs:
                # a fetched model is one folder for all replicates
                self.models.setdefault(f"{study.name}/{model.id}", model)
        self.evaluations: dict[str, Evaluation] = {}
        for study in self.studies.values():
            for evaluation in study.evaluations:
                self.evaluations.setdefault(evaluation.path, evaluation)
        self.landscapes: dict[str, Landscape] = {}
        for study in self.studies.values():
            for landscape in study.landscapes:
                self.landscapes.setdefault(landscape.path, landscape)

    def model(self, experiment: str, model: str) -> Model:
        """The model of an experiment by its id."""
        return self.models[f"{experiment}/{model}"]

    def evaluation(self, experiment: str, model: str, digest: str) -> Evaluation:
        """The evaluation with that digest of a model of an experiment."""
        return self.evaluations[f"{RESULTS}/{experiment}/hypotheses/{model}/{digest}.json"]

    def landscape(self, experiment: str, digest: str) -> Landscape:
        """The landscape with that digest of an experiment."""
        return self.landscapes[f"{RESULTS}/{experiment}/landscape/{digest}.json"]

    def pattern(self, stage: str) -> str:
        """A regular expression for the folders of the models that a stage makes; of averages, those without weights are
        `ensemble`, and choices among exports `choice`; trainings of several processes are `train on gpus`, `train on nodes`.

        Snakemake reads it for every job, so it is short: a node's name stands for all its models, but for those of another
        stage, such as the choice among the runs of a sweep."""
        parts = []
        for node, made in sorted(self._digests.items()):
            ours, most = made.get(stage), max(made, key=lambda other: len(made[other]))
            if ours:
                others = sorted(d for other, digests in made.items() if other != stage for d in digests)
                but = f"(?!{'|'.join(others)})" if others else ""
                parts.append(
                    f"{re.escape(node)}-" + (f"{but}[0-9a-f]+" if stage == most else f"(?:{'|'.join(sorted(ours))})")
                )
        return "|".join(parts) or NOTHING

    @cached_property
    def _digests(self) -> dict[str, dict[str, set[str]]]:
        """Node -> what makes its models -> their digests."""
        found: dict[str, dict[str, set[str]]] = {}
        for model in self.models.values():
            found.setdefault(model.node, {}).setdefault(_makes(model), set()).add(model.digest)
        return found

    def corpus_pattern(self, stage: str) -> str:
        """A regular expression for the folders of the corpora that a stage makes; those that are put together of parts are
        `data in parts`."""
        ids = sorted(c.id for c in self.corpora.values() if _prepares(c) == stage)
        return "|".join(map(re.escape, ids)) or NOTHING

    def targets(self, node: str) -> list[str]:
        """The files that say that EXPERIMENT/NODE[/RUN] is there with its weights, in every replicate."""
        experiment, _, reference = node.partition("/")
        among("NODE", experiment, self.studies, "experiment")
        if not reference:
            return [f"{self.studies[experiment].folder}/report.html"]
        return list(
            dict.fromkeys(
                m.content for g in self.studies[experiment].graphs.values() for m in g.resolve(reference, "NODE")
            )
        )

    def need_sources(self) -> None:
        """ConfigurationError if a corpus that is not prepared yet has no source on this machine."""
        problems = self.problems()
        if problems:
            raise ConfigurationError("\n".join([*problems, f"data_root is {self.settings.data_root}"]))

    def problems(self) -> list[str]:
        """One line per missing source file of a corpus or model that is not made yet, and per missing package."""
        corpora = [
            f"corpora.{c.name}: {problem}"
            for c in self.corpora.values()
            if c.stage == "data" and not Path(c.marker).exists()
            for problem in SOURCES[c.settings["source"]].problems(c.settings, c.languages, c.root)
        ]
        models = [
            f"experiments.{m.experiment}.models.{m.node}: there is no {source}"
            for m in self.models.values()
            if not Path(m.marker).exists()
            for source in m.sources
            if not Path(source).exists()
        ]
        glossaries = [
            f"experiments.{name}.glossary: there is no file {study.glossary}"
            for name, study in self.studies.items()
            if study.glossary and not study.glossary.is_file()
        ]
        return corpora + models + glossaries + self._absent()

    def cautions(self) -> list[str]:
        """One line per tracker of a training to come whose package is not here. Nothing fails by that."""
        wanted = {
            (f"experiments.{m.experiment}.models.{m.node}", m.execution["track"])
            for m in self.models.values()
            if "track" in m.execution and not Path(m.marker).exists()
        }
        return [
            f"{path}.track: {name} isn't installed ({extras.command(extra)}); without it the training goes on untracked"
            for path, name in sorted(wanted)
            if (extra := TRACKERS[name].extra) and not extras.installed(extra)
        ]

    def _absent(self) -> list[str]:
        """One line per node whose optimizer, sweep or format needs a package that isn't here."""
        found = {}
        for m in self.models.values():
            if m.stage == "train" and not Path(m.marker).exists():
                extra = OPTIMIZERS[name := m.identity["settings"]["optim"]].extra
                if extra and not extras.installed(extra):
                    needs = f"'{name}' needs the package {extra}: {extras.command(extra)}"
                    found[f"experiments.{m.experiment}.models.{m.node}.optim: {needs}"] = None
            if m.identity["settings"].get("study") and not Path(m.marker).exists() and not extras.installed("optuna"):
                needs = f"needs the package optuna: {extras.command('optuna')}"
                found[f"experiments.{m.experiment}.models.{m.node}.sweep.optuna: {needs}"] = None
            form = FORMATS[m.identity["settings"]["format"]] if m.verb == "export" else None
            if form and form.extra and not extras.installed(form.extra):
                needs = f"'{form.name}' needs the package {form.extra}: {extras.command(form.extra)}"
                found[f"experiments.{m.experiment}.models.{m.node}.format: {needs}"] = None
        for study in self.studies.values():
            name = study.first.experiment.decoding.engine
            if name and not extras.installed(extra := FORMATS[name].extra):
                needs = f"'{name}' needs the package {extra}: {extras.command(extra)}"
                found[f"experiments.{study.name}.decoding.engine: {needs}"] = None
        return list(found)


def _corpora(model: Model) -> list[Prepared]:
    """All corpora that a model's job reads."""
    return [*model.corpora.values(), *(corpus for corpus, _ in model.statistics.values())]


def _read(models: Iterable[Model]) -> dict[str, set[str]]:
    """Node -> the corpora that its jobs read, of nodes that read some."""
    found: dict[str, set[str]] = {}
    for model in models:
        if names := {c.name for c in _corpora(model)}:
            found.setdefault(model.node, set()).update(names)
    return found


def _before(models: Iterable[Model]) -> dict[str, dict[str, tuple[str, str]]]:
    """Starting point -> `corpora_before` of its folder, under names that no corpus of a configuration has."""
    found = {}
    for model in models:
        folder = model.identity["settings"].get("folder") if model.verb == "from" else None
        if folder and (before := corpora_before(Path(model.data_root) / folder)):
            found[model.node] = {f"{model.node}: {name}": known for name, known in before.items()}
    return found


def _prepares(corpus: Prepared) -> str:
    """The stage that makes a corpus, or what of it has a rule of its own."""
    return f"{corpus.stage} in parts" if corpus.parts > 1 else corpus.stage


def _makes(model: Model) -> str:
    """The stage that makes a model, or what of it has a rule of its own."""
    if model.stage == "train":
        several = next((key for key in ("nodes", "gpus") if model.execution.get(key, 1) > 1), None)
        return f"train on {several}" if several else "train"
    if model.stage != "average":
        return model.stage
    return "ensemble" if model.ensemble else "choice" if model.exported else model.stage


def _detail(model: Model, best: bool) -> str:
    settings = model.identity["settings"]
    if best:
        return "best run on dev"
    if model.verb == "average":
        return settings["method"]
    if model.verb == "from":
        return next(iter(settings))
    if model.verb == "export":
        own = [str(v) for k, v in settings.items() if k != "format" and v is not None]
        return " ".join([settings["format"], *own])
    if model.verb == "prune":
        sides = settings["layers"] or {}
        parts = [f"{side} {_words(plan)}" for side, plan in sides.items() if plan]
        if settings["heads"]:
            parts.append(f"heads −{settings['heads']['drop']} {settings['heads']['by']}")
        if settings["width"]:
            parts.append(f"width −{settings['width']['drop']} {settings['width']['by']}")
        return ", ".join(parts)
    steps = settings["max_steps"]
    length = f"{steps} steps" if steps else f"{settings['num_train_epochs']:g} epochs"
    labelled = [c.name for c in model.corpora.values() if isinstance(c, RelabelledCorpus)]
    return ", ".join([length, *["distilled"] * bool(model.teachers), *(f"on {name}" for name in labelled)])


def _words(plan: dict[str, Any]) -> str:
    """A pruning plan in short: −1/2 greedy, keep 1 4 6."""
    merged = f" merge {plan['merge']}" if plan.get("merge") else ""
    if plan["keep"] is not None:
        return "keep " + " ".join(map(str, plan["keep"])) + merged
    drop = plan["drop"]
    if not isinstance(drop, str):
        return "−" + " ".join(map(str, drop)) + merged
    what = f"{drop} of sublayers" if plan.get("of") == "sublayers" else drop
    options = [k if v is True else f"{k} {v}" for k, v in plan.items() if k not in ("keep", "drop", "by", "of") and v]
    return " ".join([f"−{what} {plan['by']}", *options])
