"""What each claim of an experiment could show, as far as it is known before a run. Cautions, no errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from consomme.common.evidence import FEW, REPLICATES, foreseen, unit_of
from consomme.common.files import read_json
from consomme.plan import seals
from consomme.plan.items import Prepared
from consomme.plan.plan import Study


def prospects(study: Study) -> list[str]:
    """A line for each claim: its replicates, and the units of its test set and the difference that they could show, where
    its corpora are prepared; then what it can't show."""
    return [_line(study, number, claim) for number, claim in enumerate(study.claims, 1)]


def _line(study: Study, number: int, claim: dict[str, Any]) -> str:
    margin = f" within {claim['margin']:g}" if claim["hypothesis"] == "keeps" else ""
    title = f"claim {number}, {claim['model']} {claim['hypothesis']} {claim['against']} on {claim['on']}{margin}"
    graphs = [g for g in study.graphs.values() if claim["on"] in g.data.test]
    known, cautions = [f"{len(graphs)} replicate{'s' * (len(graphs) != 1)}"], []
    if claim["on"] in study.first.data.sealed and not seals.tested(study.graphs.values(), study.opened, claim):
        known.append("sealed (`consomme unseal` breaks the seal)")
    if len(graphs) < REPLICATES:
        cautions.append(f"for these models alone, as the method needs {REPLICATES} replicates (repeat)")
    # a corpus that several replicates are tested on is one
    corpora = {c.id: c for g in graphs for c in g.data.test[claim["on"]].values()}
    sizes = [size for c in corpora.values() if (size := _extent(c))]
    if len(sizes) == len(corpora):
        kind = unit_of(study.first.experiment.units, claim["on"])
        units = sum(size["units"][kind] for size in sizes)
        # corpora may share speakers or documents
        known.append(f"{'at most ' * (len(sizes) > 1)}{units} independent units")
        if units < FEW:
            few = "keeps isn't tested" if claim["hypothesis"] == "keeps" else "p and intervals are rough"
            cautions.append(f"fewer than {FEW} units, so that {few}")
        rows, words, characters = (sum(size[key] for size in sizes) for key in ("rows", "words", "characters"))
        seen = foreseen(claim["metric"], min(rows, units), words, characters, len(study.claims))
        if seen is not None:
            known.append(f"differences of about {seen:.1f} and more are seen, if seeds change nothing")
            if claim["hypothesis"] == "keeps" and claim["margin"] < seen:
                cautions.append(f"a margin of {claim['margin']:g} is smaller than that")
    return f"{title}: {', '.join(known)}" + (f"; caution: {'; '.join(cautions)}" if cautions else "")


def _extent(corpus: Prepared) -> dict[str, Any] | None:
    """What prepared.json says of a corpus's size; None if it isn't there, or from before it said so."""
    about = read_json(corpus.marker) if Path(corpus.marker).exists() else {}
    return about if "units" in about else None
