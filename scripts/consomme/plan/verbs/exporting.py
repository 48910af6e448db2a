"""Exports, and the check that the family can be exported in the format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consomme.export.formats import TABLE as FORMATS
from consomme.families import TABLE as FAMILIES
from consomme.plan.problems import among
from consomme.plan.schema import ExportNode

if TYPE_CHECKING:
    from consomme.plan.items import Model
    from consomme.plan.view import Graph


def check(node: ExportNode, parent: Model, path: str) -> None:
    """ConfigurationError unless the family can be written in the format."""
    if parent.family:
        able = [name for name, form in FORMATS.items() if form.fits(FAMILIES[parent.family])]
        among(f"{path}.format", node.format, able, f"export format of '{parent.family}'")


# -- making -----------------------------------------------------------------------------------------------------------
def make(graph: Graph, name: str, node: ExportNode, own: dict[str, Any], path: str) -> list[Model]:
    """An export of each parent."""
    settings = node.model_dump(by_alias=True, exclude={"export", "sweep"})
    made = []
    for parent in graph.resolve(node.export, f"{path}.export"):
        check(node, parent, path)
        # a development set on which the export's output is compared with the model's
        dev = dict(list(graph.data.dev.items())[:1])
        identity = {
            "task": graph.experiment.task,
            "languages": graph.languages,
            "settings": settings,
            "dev": {s: list(c) for s, c in dev.items()},
            "decoding": graph.experiment.decoding.model_dump(),
            "normaliser": graph.normaliser,
        }
        corpora = {c.name: c for s in dev.values() for c in s.values()}
        made.append(
            graph.model(name, own, "export", identity, parents={parent.name: parent}, corpora=corpora, inherit=True)
        )
    return made
