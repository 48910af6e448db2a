"""Selection bias: what chosen models lead by on the development sets that chose them, and on test sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from consomme.report.evidence import crossed, student
from consomme.report.evidence.paired import Floats, mean_pulls, pulls
from consomme.report.lineage import named, swept_nodes
from consomme.report.numbers import signed
from consomme.report.outcomes import Outcomes, Sheet
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


def optimism(outcomes: Outcomes, provenance: Records, metric: str) -> list[dict[str, Any]]:
    """The lead of each chosen model over the mean of those that it was chosen from or made of, on the development set that
    chose it and on the test set. The difference is luck, with its 95 % interval: what the score on the development set
    promised too much, which other test data, and with several replicates other seeds, would put elsewhere."""
    sets = [s for s in outcomes.sets("test") if s in outcomes.sets("dev")]
    rows = []
    for winner, (peers, told) in _chosen(outcomes, provenance).items():
        weighed = _weighed(provenance.get((winner, outcomes.replicates[0])) or {})
        for name in sets:
            if weighed is not None and name not in weighed:
                continue
            replicates = [
                (dev, test)
                for r in outcomes.replicates
                if (dev := _sheets(outcomes, r, "dev", name, [winner, *peers]))
                and (test := _sheets(outcomes, r, "test", name, [winner, *peers]))
            ]
            if replicates:
                dev, test, low, high = _leads(outcomes, replicates, metric)
                rows.append(
                    {"chosen": winner, "set": name, "over": told}
                    | {"dev": signed(dev), "test": signed(test), "luck": signed(dev - test)}
                    | {"interval": f"{signed(low)} to {signed(high)}" if np.isfinite(low + high) else ""}
                )
    return rows


def _chosen(outcomes: Outcomes, provenance: Records) -> dict[str, tuple[list[str], str]]:
    """Chosen model -> the models that it is compared with, and what they are called: the runs of a sweep, of which it is the
    best or an average, or else the models that it was made of."""
    nodes = swept_nodes(outcomes)
    found = {f"{node}/best": (runs, _runs(outcomes, node, runs)) for node, runs in nodes.items()}
    parents = {m["name"]: list(m.get("parents", [])) for m in reversed(outcomes.models)}
    for name in named(outcomes):
        record = provenance.get((name, outcomes.replicates[0])) or {}
        settings = record.get("settings") or {}
        if name in found or not record.get("chosen") or not _looked(record):
            continue
        of = [p for p in parents[name] if len(parents[name]) == 1 or p != settings.get("base")]
        swept = [(node, runs) for node, runs in nodes.items() if set(of) <= set(runs)] if len(of) > 1 else []
        found[name] = (swept[0][1], _runs(outcomes, *swept[0])) if swept else (of, ", ".join(of))
    return {name: (peers, told) for name, (peers, told) in found.items() if peers}


def _looked(record: Mapping[str, Any]) -> bool:
    """Whether development sets chose: of averages those that name their metric, and what was searched or picked."""
    chosen = record["chosen"]
    searched = any(plan.get("trace") for plan in (chosen.get("layers") or {}).values())
    return "metric" in chosen or "step" in chosen or searched


def _runs(outcomes: Outcomes, node: str, runs: Sequence[str]) -> str:
    whole = [run for run in runs if (run, outcomes.replicates[0]) not in outcomes.stopped]
    return f"{len(whole)} runs of {node}"


def _weighed(record: Mapping[str, Any]) -> set[str] | None:
    """The development sets of the objective, from the chosen model's provenance; None if it doesn't hold them."""
    sets = ((record.get("settings") or {}).get("choose_on") or {}).get("sets")
    return sets and {name for name, rule in sets.items() if rule.get("weight")}


def _sheets(outcomes: Outcomes, replicate: str, split: str, name: str, models: Sequence[str]) -> list[Sheet]:
    """Of the first model and of the others that were decoded and not stopped early; none without it, or without any other."""
    whole = [m for m in models if (m, replicate) not in outcomes.stopped]
    found = [outcomes.sheets.get((m, replicate, split, name)) for m in whole]
    several = found[0] and any(found[1:])
    return [sheet for sheet in found if sheet] if several else []


def _leads(
    outcomes: Outcomes, replicates: Sequence[tuple[list[Sheet], list[Sheet]]], metric: str
) -> tuple[float, float, float, float]:
    """The first sheet's lead over the mean of the others, on development and on test sheets, means over replicates; and the
    ends of the interval of the difference. The lead on development is what it is, so only test units and replicates are
    drawn."""
    own = outcomes.units_together([test[0] for _, test in replicates])
    dev = np.array([_lead(outcomes, sheets, metric, outcomes.units(sheets[0]))[0] for sheets, _ in replicates])
    tests = [_lead(outcomes, sheets, metric, units) for (_, sheets), units in zip(replicates, own, strict=True)]
    luck = (dev - [lead for lead, _ in tests])[None]
    pull = mean_pulls([(-pull[None], np.unique(units)) for (_, pull), units in zip(tests, own, strict=True)])
    low, high = student.wider(luck.mean(1), pull.mean, student.bootstrap_t(pull.mean))
    if len(replicates) > 1:
        low, high = crossed.wider(luck, pull, (low, high))
    return float(dev.mean()), float((dev - luck[0]).mean()), float(low[0]), float(high[0])


def _lead(outcomes: Outcomes, sheets: Sequence[Sheet], metric: str, units: Any) -> tuple[float, Floats]:
    """Of the first sheet over the mean of the others, and how each unit pulls at it."""
    value, sign = outcomes.metric(metric).value, outcomes.sign(metric)
    sums = np.stack([outcomes.sums(sheet, metric, units) for sheet in sheets])
    weights = sign * np.array([1.0, *[-1 / (len(sheets) - 1)] * (len(sheets) - 1)])
    return float(weights @ value(sums.sum(1))), weights @ pulls(sums, value)
