"""Exports, and the check that the family can be exported in the format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from consomme.families import TABLE as FAMILIES
from consomme.formats import TABLE as FORMATS
from consomme.formats import engines
from consomme.plan.problems import among, fail
from consomme.plan.schema import ExportNode

if TYPE_CHECKING:
    from consomme.plan.items import Model
    from consomme.plan.view import Graph


def check(node: ExportNode, parent: Model, decoding: Mapping[str, Any], path: str) -> None:
    """ConfigurationError unless the family can be written in the format with these settings, and its engine can decode as the
    experiment says."""
    if parent.family:
        able = [name for name, form in FORMATS.items() if form.fits(FAMILIES[parent.family])]
        among(f"{path}.format", node.format, able, f"export format of '{parent.family}'")
    form = FORMATS[node.format]
    if parent.family and (reason := form.refuses(node.model_dump(), FAMILIES[parent.family])):
        key, _, why = reason.partition(": ")
        fail(f"{path}.{key}", why)
    if form.load and (lacks := form.lacks(decoding)):
        own = ", ".join(sorted(form.decodes)) or "none beside max_new_tokens and window"
        fail(
            f"{path}.format",
            f"the engine of '{node.format}' has no {lacks[0]}, which the experiment's decoding sets; it has: {own}",
        )


def check_engine(model: Model, engine: str | None, path: str) -> None:
    """ConfigurationError unless the engine that decodes checkpoints can have this model. engine: None is transformers."""
    if engine is None or model.verb == "export" or model.ensemble:
        return
    among(path, engine, engines(), "engine")
    if model.family and engine not in FAMILIES[model.family].exports:
        able = (
            ", ".join(name for name in engines() if name in FAMILIES[model.family].exports) or "none but transformers"
        )
        fail(path, f"{model.name} is of the family '{model.family}', which {engine} can't have; what can: {able}")


# -- making -----------------------------------------------------------------------------------------------------------
def make(graph: Graph, name: str, node: ExportNode, own: dict[str, Any], path: str) -> list[Model]:
    """An export of each parent."""
    settings = node.model_dump(by_alias=True, exclude={"export", "sweep"})
    made = []
    for parent in graph.resolve(node.export, f"{path}.export"):
        check(node, parent, graph.decoding, path)
        # a development set on which the export's output is compared with the model's
        dev = dict(list(graph.data.dev.items())[:1])
        identity = {
            "task": graph.experiment.task,
            "languages": graph.languages,
            "settings": settings,
            "dev": {s: list(c) for s, c in dev.items()},
            "decoding": graph.decoding,
            "normaliser": graph.normaliser,
        }
        corpora = {c.name: c for s in dev.values() for c in s.values()}
        made.append(
            graph.model(name, own, "export", identity, parents={parent.name: parent}, corpora=corpora, inherit=True)
        )
    return made
