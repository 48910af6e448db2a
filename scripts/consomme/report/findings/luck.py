"""Selection bias: the lead of chosen models on development sets, and their lead on test sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from consomme.report.lineage import averages, swept_nodes
from consomme.report.numbers import signed
from consomme.report.outcomes import Outcomes
from consomme.report.provenance import Records


def bests(outcomes: Outcomes, provenance: Records) -> list[dict[str, Any]]:
    """For each `NODE/best` and replicate, its run: from its provenance, else by equal hypotheses."""
    answers: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for s in outcomes.sheets.values():
        answers.setdefault((s.model, s.replicate), {})[s.split, s.set] = s.content
    rows = []
    for node, names in swept_nodes(outcomes).items():
        for replicate in outcomes.replicates:
            record = provenance.get((f"{node}/best", replicate)) or {}
            same = [n for n in (record.get("chosen") or {}).get("ingredients") or [] if n in names]
            best = answers.get((f"{node}/best", replicate))
            same = same or [n for n in names if best and answers.get((n, replicate)) == best]
            rows.append({"node": node, "replicate": replicate, "runs": same})
    return rows


def optimism(outcomes: Outcomes, scores: pd.DataFrame, provenance: Records, metric: str) -> list[dict[str, Any]]:
    """The lead of each chosen model (best run, or average chosen on development sets) over the mean of the runs, on the
    development set that chose it and on the test set."""
    nodes = swept_nodes(outcomes)
    winners = {f"{node}/best": names for node, names in nodes.items()}
    for average, best in averages(outcomes).items():
        chosen = (provenance.get((average, outcomes.replicates[0])) or {}).get("chosen") or {}
        if "metric" in chosen and best.removesuffix("/best") in nodes:
            winners[average] = nodes[best.removesuffix("/best")]
    places = ["set", "replicate", "split"]
    values = scores[(scores["metric"] == metric) & scores["split"].isin(["dev", "test"])]
    values = values.pivot(index=places, columns="model", values="value")
    sets = [s for s in outcomes.sets("test") if s in outcomes.sets("dev")]
    rows = []
    for winner, names in winners.items():
        runs = values.reindex(columns=names)
        leads = outcomes.sign(metric) * (values.reindex(columns=[winner])[winner] - runs.mean(axis=1))
        leads = leads[runs.count(axis=1) > 1].unstack("split").reindex(columns=["dev", "test"]).dropna()
        weighed = _weighed(provenance.get((winner, outcomes.replicates[0])) or {})
        for name, lead in leads.groupby("set").mean().reindex(sets).dropna().iterrows():
            if weighed is None or name in weighed:
                rows.append(
                    {"chosen": winner, "set": name, "runs": len(names)}
                    | {"dev": signed(lead["dev"]), "test": signed(lead["test"])}
                    | {"luck": signed(lead["dev"] - lead["test"])}
                )
    return rows


def _weighed(record: Mapping[str, Any]) -> set[str] | None:
    """The development sets of the objective, from the chosen model's provenance; None if it doesn't hold them."""
    sets = ((record.get("settings") or {}).get("choose_on") or {}).get("sets")
    return sets and {name for name, rule in sets.items() if rule.get("weight")}
