"""Sealed test sets, which are decoded once their seal is broken, and what a report has to know of the claims' register."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from consomme.plan.graph import Graph
from consomme.plan.problems import fail
from consomme.register import chain, entry

Opened = Mapping[str, Sequence[str]]  # sealed test set -> the models, NODE-DIGEST, that its seal was broken for


def opened(folder: str, sealed: Iterable[str]) -> Opened:
    """Those of the sealed test sets whose seal was broken, by the register in the folder of an experiment."""
    wanted = list(sealed)
    found = entry.opened(chain.read(Path(folder) / chain.NAME).lines) if wanted else {}
    return {test: models for test, models in found.items() if test in wanted}


def tested(graphs: Iterable[Graph], found: Opened, claim: Mapping[str, Any]) -> bool:
    """Whether the models of a claim may be decoded on its test set."""
    return all(
        claim["on"] not in graph.data.sealed or graph.one(claim[side], "").id in found.get(claim["on"], ())
        for graph in graphs
        for side in ("model", "against")
    )


def register(folder: str, graphs: Sequence[Graph], found: Opened, sealed: list[dict[str, Any]]) -> dict[str, Any]:
    """The part of the report's spec that `consomme.register` reads. sealed: the claims that can't be tested yet."""
    tests = {}
    for test in graphs[0].data.test:
        corpora = [[[c.content, c.folder] for c in g.data.test[test].values()] for g in graphs if test in g.data.test]
        tests[test] = [one for number, one in enumerate(corpora) if one not in corpora[:number]]
    return {
        "path": f"{folder}/{chain.NAME}",
        "tests": tests,
        "sealed": list(graphs[0].data.sealed),
        "claims": sealed,
        "opened": {test: list(models) for test, models in found.items()},
    }


def refuse_open_twins(graphs: Iterable[Graph]) -> None:
    """ConfigurationError if a corpus of a sealed test set is in an open one of any experiment, which is decoded."""
    every = list(graphs)
    closed = {c.content: f"{g.name}'s '{t}'" for g in every for t in g.data.sealed for c in g.data.test[t].values()}
    for graph in every:
        for test, corpora in graph.data.open.items():
            for corpus in corpora.values():
                if corpus.content in closed:
                    where = f"experiments.{graph.name}.data.test.{test}"
                    fail(
                        where,
                        f"'{corpus.name}' is in {closed[corpus.content]} too, which is sealed; seal this one, too",
                    )
