"""What a choice on development sets promised, and what test sets then gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from consomme.report.evidence.claims import averages
from consomme.report.outcomes import Outcomes
from consomme.report.provenance import Records
from consomme.report.tables import Score, signed, swept_nodes


def bests(outcomes: Outcomes, provenance: Records) -> list[dict[str, Any]]:
    """For each `NODE/best` and replicate, the run that it is: as its provenance says, else told by equal answers."""
    rows = []
    for node, names in swept_nodes(outcomes).items():
        for replicate in outcomes.replicates:
            record = provenance.get((f"{node}/best", replicate)) or {}
            same = [n for n in (record.get("chosen") or {}).get("ingredients") or [] if n in names]
            if not same:
                best = _answers(outcomes, f"{node}/best", replicate)
                same = [n for n in names if best and _answers(outcomes, n, replicate) == best]
            rows.append({"node": node, "replicate": replicate, "runs": same})
    return rows


def _answers(outcomes: Outcomes, model: str, replicate: str) -> dict[tuple[str, str], str]:
    return {
        (s.split, s.set): s.content for s in outcomes.sheets.values() if s.model == model and s.replicate == replicate
    }


def optimism(
    outcomes: Outcomes,
    found: Sequence[Score],
    provenance: Records,
    metric: str,
) -> list[dict[str, Any]]:
    """How far what was chosen leads the mean of the runs on the development set that chose it, and on the test set: the
    best run, and averages that looked at development sets."""
    sign = outcomes.sign(metric)
    values = {(s.model, s.replicate, s.split, s.set): s.value for s in found if s.metric == metric}
    nodes = swept_nodes(outcomes)
    winners = {f"{node}/best": names for node, names in nodes.items()}
    for average, best in averages(outcomes).items():
        chosen = (provenance.get((average, outcomes.replicates[0])) or {}).get("chosen") or {}
        if "metric" in chosen and best.removesuffix("/best") in nodes:
            winners[average] = nodes[best.removesuffix("/best")]
    rows = []
    for winner, names in winners.items():
        weighed = _weighed(provenance.get((winner, outcomes.replicates[0])) or {})
        for name in [s for s in outcomes.sets("test") if s in outcomes.sets("dev")]:
            if weighed is not None and name not in weighed:
                continue
            leads = []
            for replicate in outcomes.replicates:
                both = []
                for split in ("dev", "test"):
                    best = values.get((winner, replicate, split, name))
                    others = [values[n, replicate, split, name] for n in names if (n, replicate, split, name) in values]
                    if best is not None and len(others) > 1:
                        both.append(sign * (best - float(np.mean(others))))
                if len(both) == 2:
                    leads.append(both)
            if leads:
                dev, test = np.mean(leads, axis=0)
                rows.append(
                    {"chosen": winner, "set": name, "runs": len(names), "dev": signed(dev), "test": signed(test)}
                    | {"luck": signed(dev - test)}
                )
    return rows


def _weighed(record: Mapping[str, Any]) -> set[str] | None:
    """The development sets that a choice was to be good on, by the chosen model's provenance; None where it doesn't say."""
    sets = ((record.get("settings") or {}).get("choose_on") or {}).get("sets")
    return sets and {name for name, rule in sets.items() if rule.get("weight")}
