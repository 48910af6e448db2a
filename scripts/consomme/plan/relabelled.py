"""Corpora that a model of the graph makes: the original corpus, the models, the checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from consomme.common.digest import digest
from consomme.families import TABLE as FAMILIES
from consomme.plan import experiments, languages, rungs
from consomme.plan.items import Model, Prepared, as_spec
from consomme.plan.languages import ancestors
from consomme.plan.problems import among, fail
from consomme.plan.stages import VERSIONS

if TYPE_CHECKING:
    from consomme.plan.schema import Relabelled
    from consomme.plan.view import Graph

LIMITS = {"wer", "cer", "chrf"}  # the metrics of `keep`


@dataclass(frozen=True, eq=False)
class RelabelledCorpus(Prepared):
    """A prepared corpus that models make by labelling another one. Its settings: side, tag, keep, limits of the text."""

    stage: str = "relabel"
    # the corpus that is labelled
    origin: Prepared | None = None
    # sorted by digest: the order in which the configuration lists an ensemble doesn't matter
    models: tuple[Model, ...] = ()
    # the decoding settings of the models
    decoding: dict[str, Any] = field(default_factory=dict)
    # for the error rates of `keep`
    normaliser: str = "verbatim"

    @cached_property
    def digest(self) -> str:
        """A digest of the settings, the corpus and the models, not of any name."""
        # these are used only if `keep` filters rows by their errors
        limits = LIMITS & set(self.settings["keep"])
        normaliser = self.normaliser if limits else None
        treatment = experiments.treatment(limits, normaliser or "verbatim", self.written)
        return digest(
            {
                **treatment,
                "stage": "relabel",
                "version": VERSIONS["relabel"],
                "evaluator": VERSIONS["evaluate"],
                "task": self.task,
                "languages": self.languages,
                "settings": self.settings,
                "decoding": self.decoding,
                "normaliser": normaliser,
                "corpus": self.origin.digest if self.origin else None,
                "models": [m.digest for m in self.models],
            }
        )

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Label: file, in the order of the spec."""
        origin = {f"corpus/{self.origin.name}": self.origin.marker} if self.origin else {}
        return {**origin, **{f"model/{m.experiment}/{m.name}": m.content for m in self.models}}

    @cached_property
    def spec(self) -> str:
        return as_spec(
            {
                "stage": "relabel",
                "version": VERSIONS["relabel"],
                "digest": self.digest,
                "label": {"corpus": self.name},
                "name": self.name,
                "task": self.task,
                "languages": list(self.languages),
                "settings": {k: v for k, v in self.settings.items() if k != "source"},
                "decoding": self.decoding,
                "normaliser": self.normaliser,
                "inputs": list(self.inputs),
            }
        )

    @cached_property
    def behind(self) -> dict[str, Prepared]:
        """Name -> corpus, of all corpora that its rows or labels come from: the relabelled corpus, and those that the models
        and their ancestors were trained or chosen on."""
        found = _behind(self.origin) if self.origin else {}
        for model in ancestors(self.models):
            for corpus in model.corpora.values():
                found |= _behind(corpus)
        return found

    @property
    def named(self) -> bool:
        return self.origin is not None and self.origin.named

    @property
    def spoken(self) -> tuple[str, ...] | None:
        return self.origin.spoken if self.origin else None

    @property
    def written(self) -> list[str]:
        """The language of the models' texts; none if rows differ in it."""
        return [self.spoken[0 if self.settings["side"] == "source" else -1]] if self.spoken else []


def _behind(corpus: Prepared) -> dict[str, Prepared]:
    return {corpus.name: corpus, **(corpus.behind if isinstance(corpus, RelabelledCorpus) else {})}


def corpus(graph: Graph, name: str, settings: Relabelled) -> Prepared:
    """The corpus `name` for the experiment and replicate of `graph`."""
    path = f"corpora.{name}"
    _fits(graph, settings, path)
    origin = graph.data.trained_on(settings.corpus, f"{path}.corpus", settings.side)
    _refuse_tests(graph, origin, f"{path}.corpus")
    home, models = _models(graph, settings, path)
    _speak(graph, home, models, origin, settings, path)
    if home is not graph:
        _refuse_tests(home, origin, f"{path}.corpus")
    decoding = home.decoding
    if settings.decoding:
        decoding |= settings.decoding.model_dump(include=settings.decoding.model_fields_set)
    keep = settings.keep.model_dump(exclude_none=True)
    for metric in _bounds(graph.experiment.task):
        if metric in keep and origin.settings.get("missing") == settings.side:
            fail(f"{path}.keep.{metric}", f"'{origin.name}' has no {settings.side} side to compare with")
    made = RelabelledCorpus(
        name,
        {
            "source": settings.source,
            "side": settings.side,
            "tag": settings.tag,
            "keep": keep,
            "normaliser": settings.normaliser or origin.settings["normaliser"],
            "min_characters": settings.min_characters,
            "max_characters": settings.max_characters,
            "max_ratio": settings.max_ratio,
        },
        graph.experiment.task,
        home.languages,
        graph.graphs.corpora.data_root,
        origin=origin,
        models=tuple(sorted(models, key=lambda m: m.digest)),
        decoding=decoding,
        normaliser=graph.normaliser,
    )
    if settings.normaliser is not None:
        experiments.check_normaliser(f"{path}.normaliser", settings.normaliser, made.written)
    for model in models:
        if model.family and FAMILIES[model.family].objective != "seq2seq" and decoding["num_beams"] != 1:
            fail(
                f"{path}.decoding.num_beams", f"{decoding['num_beams']} given; '{model.family}' decodes greedily, so 1"
            )
    if tests := sorted(made.behind.keys() & graph.data.reported.keys()):
        fail(
            f"{path}.by",
            f"{', '.join(m.name for m in models)} learnt from '{tests[0]}' or was chosen on it, and that is the test set "
            f"'{graph.data.reported[tests[0]]}' of {graph.name}; test sets only report",
        )
    for learnt in made.behind.values():
        graph.data.refuse_alias(learnt, f"{path}.by")
    return made


def _fits(graph: Graph, settings: Relabelled, path: str) -> None:
    """ConfigurationError for keys that the task can't use."""
    task = graph.experiment.task
    for key, given in (("side", settings.side == "source"), ("tag", settings.tag), ("max_ratio", settings.max_ratio)):
        if given and task != "nmt":
            fail(f"{path}.{key}", "is only for sentence pairs (nmt), and the experiment's task is asr")
    for metric in ("wer", "cer", "chrf"):
        if getattr(settings.keep, metric) is not None and metric not in experiments.metrics(task):
            fail(f"{path}.keep.{metric}", f"is no metric of {task}; there are: {', '.join(_bounds(task))}")


def _bounds(task: str) -> list[str]:
    return [m for m in ("wer", "cer", "chrf") if m in experiments.metrics(task)]


def _refuse_tests(graph: Graph, origin: Prepared, path: str) -> None:
    if origin.name in graph.data.reported:
        fail(
            path,
            f"'{origin.name}' is in the test set '{graph.data.reported[origin.name]}' of {graph.name}; test sets only report",
        )
    graph.data.refuse_alias(origin, path)


def _models(graph: Graph, settings: Relabelled, path: str) -> tuple[Graph, list[Model]]:
    """The graph of the labelling models, and the models."""
    found: dict[str, Model] = {}
    homes: dict[str, Graph] = {}
    for reference in settings.by:
        home, rest = _home(graph, reference, f"{path}.by")
        homes[home.name] = home
        for model in home.resolve(rest, f"{path}.by"):
            if model.name != rest:
                rungs.check_known(model, f"{path}.by")
            found[model.id] = model
    if len(homes) > 1:
        fail(f"{path}.by", f"an ensemble is of one experiment's models; these are of {', '.join(homes)}")
    (home,) = homes.values()
    models = list(found.values())
    if home.experiment.task != graph.experiment.task:
        fail(
            f"{path}.by", f"{home.name} is of the task {home.experiment.task}, {graph.name} of {graph.experiment.task}"
        )
    for model in models:
        if model.random:
            fail(f"{path}.by", f"'{model.name}' has random weights")
    known: Mapping[str, Any] = {m.family: m for m in models if m.family}
    if len(known) > 1:
        names = ", ".join(f"{m.name} ({family})" for family, m in known.items())
        fail(f"{path}.by", f"an ensemble is of one family's models: {names}")
    return home, models


def _home(graph: Graph, reference: str, path: str) -> tuple[Graph, str]:
    """(graph, NODE[/RUN]) of a reference. NODE[/RUN] is in the experiment that trains on the corpus,
    EXPERIMENT/NODE[/RUN] in another one: its graph of the same replicate, or of its only replicate."""
    first, _, rest = reference.partition("/")
    here, there = first in graph.experiment.models, bool(rest) and first in graph.graphs.experiments
    if here and there:
        fail(path, f"'{first}' is a model of {graph.name} and an experiment too; rename one of them")
    if not there:
        among(path, first, [*graph.experiment.models, *(f"{e}/NODE" for e in graph.graphs.experiments)], "model")
        return graph, reference
    replicates = list(graph.graphs.experiments[first].repeat)
    if graph.replicate not in replicates and len(replicates) > 1:
        fail(path, f"{first} has no replicate {graph.replicate}, and more than one: {', '.join(map(str, replicates))}")
    return graph.graphs.get(first, graph.replicate if graph.replicate in replicates else replicates[0]), rest


def _speak(graph: Graph, home: Graph, models: list[Model], origin: Prepared, settings: Relabelled, path: str) -> None:
    """ConfigurationError unless the models do the task in the corpus's languages and direction. Where rows have languages of
    their own, a model that is told the languages of each row can be asked for any that it has a code for; others must have
    learnt them."""
    if origin.spoken is None:
        return
    wanted = origin.spoken[::-1] if settings.side == "source" else origin.spoken
    if origin.named:
        if all(m.family is None or FAMILIES[m.family].told for m in models):
            for model in models:
                languages.check(model, [origin], graph.path)
            return
        if any(c.spoken in (None, wanted) for m in ancestors(models) for c in m.corpora.values()):
            return
    if home.languages != wanted:
        what = (
            "its source side is written by a model of an experiment"
            if settings.side == "source"
            else "the models must be"
        )
        fail(
            f"{path}.by",
            f"{what} with languages: [{', '.join(wanted)}]; {home.name} has [{', '.join(home.languages)}]",
        )
