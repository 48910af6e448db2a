"""Interfaces of the graphs, for the modules of planning that graph.py itself uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from consomme.plan.corpora import Corpora
    from consomme.plan.experiment_data import ExperimentData
    from consomme.plan.items import Model
    from consomme.plan.schema import Experiment


class Graphs(Protocol):
    """The graphs of a configuration."""

    experiments: dict[str, Experiment]
    corpora: Corpora

    def get(self, name: str, replicate: int) -> Graph:
        """The graph of an experiment in one replicate."""
        ...


class Graph(Protocol):
    """The models of one experiment in one replicate."""

    name: str
    path: str  # of the experiment in the configuration, for errors
    experiment: Experiment
    replicate: int
    metric: str
    normaliser: str
    data_root: str
    data: ExperimentData

    @property
    def graphs(self) -> Graphs: ...

    @property
    def languages(self) -> tuple[str, ...]: ...

    @property
    def decoding(self) -> dict[str, Any]:
        """How transformers makes hypotheses."""
        ...

    def resolve(self, reference: str, path: str, exports: bool = False) -> list[Model]:
        """NODE (all its runs), NODE/best, NODE/RUN."""
        ...

    def one(self, reference: str, path: str) -> Model:
        """The single model that a reference names. ConfigurationError if it names several."""
        ...

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
        """A model of a node. own: its swept keys and their values; inherit: family, shape and swept keys are its parent's."""
        ...
