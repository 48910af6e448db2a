"""What pruning did, for the page: models before and after recovery, the choice within a budget, what layers and heads
are worth. Plain rows; `prune_charts` draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from consomme.evaluate.metrics import metric_named
from consomme.report.outcomes import Outcomes
from consomme.report.provenance import Records
from consomme.report.tables import Score, costs_of, mean_scores, metric_title, rounds

WHOLE, PRUNED, RECOVERED = "whole", "pruned", "recovered"

HEAD_MAPS = 4  # models whose heads are drawn


def pruned_from(outcomes: Outcomes) -> dict[str, str]:
    """Model -> the pruned model that it is, or that it was trained or averaged from; in the order of the experiment.
    What is chosen among models is one of them, and stands for itself no second time."""
    models = {m["name"]: m for m in reversed(outcomes.models) if m["verb"] != "export"}
    found: dict[str, str] = {}
    for name in dict.fromkeys(m["name"] for m in outcomes.models):
        at, seen = models.get(name), set()
        if at is None or at.get("choice") or name.endswith("/best"):
            continue
        while at is not None and at["name"] not in seen:
            seen.add(at["name"])
            if at["verb"] == "prune":
                found[name] = at["name"]
                break
            at = models.get(at["parents"][0]) if at.get("parents") else None
    return found


def points(
    outcomes: Outcomes,
    found: Sequence[Score],
    costs: Sequence[Mapping[str, str]],
    provenance: Records,
    test: str,
    metric: str,
    field: str,
) -> list[dict[str, Any]]:
    """A row for each pruned model, for each that was recovered from one, and for what they were pruned from: quality on a
    test set (mean over replicates, with the interval) and a column of costs.tsv, parameters (in millions) or speed.

    model, label (shorter), state, how (it was pruned), of (the pruned model behind it), cost, cost_low, cost_high, value,
    low, high, front: whether none is at once cheaper (or as cheap) and better (or as good)."""
    means = mean_scores([s for s in found if s.split == "test" and s.set == test and s.metric == metric])
    cost = {name: c for name, c in costs_of(costs).items() if c.get(field)}
    behind, models = pruned_from(outcomes), {m["name"]: m for m in reversed(outcomes.models)}
    states = {name: PRUNED if name == pruned else RECOVERED for name, pruned in behind.items()}
    for name in behind.values():
        states.setdefault(_chosen(models[models[name]["parents"][0]], models, outcomes, provenance), WHOLE)
    states |= dict.fromkeys(controls(outcomes, states, cost), WHOLE)
    rows = []
    for name, state in states.items():
        score = means.get((name, "test", test, metric))
        if score is None or name not in cost:
            continue
        if field == "parameters":
            amounts = [float(cost[name][field]) / 1e6] * 3
        else:
            low, high = rounds(cost[name])
            amounts = [float(cost[name][field]), low, high]
        pruned = behind.get(name)
        rows.append(
            {"model": name, "label": label(models[name]), "state": state, "of": pruned or ""}
            | {"how": how_pruned(models[pruned], provenance) if pruned else WHOLE}
            | dict(zip(("cost", "cost_low", "cost_high"), amounts, strict=True))
            | dict(zip(("value", "low", "high"), score, strict=True))
        )
    sign = outcomes.sign(metric)
    for row in rows:
        row["front"] = on_front(row, rows, sign, -1.0 if field == "parameters" else 1.0)
    return rows


def _chosen(model: Mapping[str, Any], models: Mapping[str, Any], outcomes: Outcomes, provenance: Records) -> str:
    """The model, or where it is a choice the one that was chosen (in the first replicate), which may be a pruned one."""
    seen = set()
    while (model.get("choice") or model["name"].endswith("/best")) and model["name"] not in seen:
        seen.add(model["name"])
        record = provenance.get((model["name"], outcomes.replicates[0])) or {}
        chosen = (record.get("chosen") or {}).get("ingredients") or []
        model = models.get(chosen[0], model) if chosen else model
    return str(model["name"])


def controls(outcomes: Outcomes, states: Mapping[str, str], cost: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Trained models that pruned ones are held against, though none was pruned from them: a whole one that was trained as
    much longer, a small one from scratch. cost: model -> its row of costs.tsv."""
    models = {m["name"]: m for m in reversed(outcomes.models)}
    wholes = {name for name, state in states.items() if state == WHOLE}
    sizes = {cost[name].get("parameters") for name in wholes if name in cost}
    found = []
    for name, model in models.items():
        if model["verb"] != "train" or model.get("run") or name in states:
            continue
        at, seen = model, {name}
        while at and at.get("parents") and at["parents"][0] not in {*seen, *wholes}:
            seen.add(at["parents"][0])
            at = models.get(at["parents"][0])
        longer = bool(at and at.get("parents")) and at["parents"][0] in wholes
        smaller = name in cost and bool(sizes) and cost[name].get("parameters") not in sizes
        if longer or smaller:
            found.append(name)
    return found


def on_front(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], value: float, cost: float) -> bool:
    """Whether no other row is as good in both and better in one. value, cost: 1 where more is better, else -1."""
    gains = [(value * (o["value"] - row["value"]), cost * (o["cost"] - row["cost"])) for o in rows]
    return not any(min(pair) >= 0 and max(pair) > 0 for pair in gains)


def label(model: Mapping[str, Any]) -> str:
    """A short name: of a run its node and the values of what was swept."""
    if model.get("run") in (None, "", "best"):
        return model["name"]
    values = [str(v) for v in (model.get("swept") or {}).values()]
    return f"{model['node']} {' '.join(values)}" if values else model["name"]


def how_pruned(model: Mapping[str, Any], provenance: Records) -> str:
    """In words how a model was pruned, such as `greedy`, or `encoder greedy, heads taylor`; its node where nothing says."""
    settings = next((r.get("settings") or {} for (name, _), r in provenance.items() if name == model["name"]), {})
    layers = {side: plan for side, plan in (settings.get("layers") or {}).items() if plan}
    ways = {side: plan.get("by") or "listed" for side, plan in layers.items()}
    if len(set(ways.values())) == 1:
        ways = {"": next(iter(ways.values()))}
    others = {k: v for k, v in settings.items() if k != "layers" and isinstance(v, Mapping) and v.get("by")}
    ways |= {what: plan["by"] for what, plan in others.items()}
    return ", ".join(f"{what} {way}".strip() for what, way in ways.items()) or model["node"]


# -- the choice within a budget ----------------------------------------------------------------------------------------
def budgets(outcomes: Outcomes, provenance: Records) -> list[dict[str, Any]]:
    """For each model that is the smallest within its limits (of the first replicate): title, set, metric, and the rows of
    its curve on that set: model, parameters (millions), value, low, high, state."""
    found, labels = [], {m["name"]: label(m) for m in outcomes.models}
    for model in outcomes.models:
        record = provenance.get((model["name"], outcomes.replicates[0])) or {}
        if model["replicate"] != outcomes.replicates[0] or (record.get("settings") or {}).get("method") != "smallest":
            continue
        curve = (record.get("chosen") or {}).get("curve") or []
        for place in dict.fromkeys((row["set"], row["metric"]) for row in curve):
            rows = [
                {"model": row["model"], "label": labels.get(row["model"], row["model"]), "value": row["value"]}
                | {"parameters": row["parameters"] / 1e6}
                | {"low": row["ci_low"], "high": row["ci_high"]}
                | {"state": "chosen" if row["chosen"] else "within" if row["admissible"] else "outside"}
                for row in curve
                if (row["set"], row["metric"]) == place
            ]
            found.append({"title": model["name"], "set": place[0], "metric": place[1], "rows": rows})
    return found


def compact(outcomes: Outcomes, costs: Sequence[Mapping[str, str]], provenance: Records) -> list[str]:
    """For each model that is the smallest within its limits, a line for each that it is in some replicates: how much smaller
    and faster than the largest that it was chosen among."""
    cost = {(c["model"], c["replicate"]): c for c in costs}
    found: dict[tuple[str, str, str], list[str]] = {}
    for model in outcomes.models:
        record = provenance.get((model["name"], model["replicate"])) or {}
        if (record.get("settings") or {}).get("method") != "smallest":
            continue
        sizes = {row["model"]: row["parameters"] for row in record["chosen"]["curve"]}
        (chosen,), largest = record["chosen"]["ingredients"], max(sizes, key=lambda name: sizes[name])
        words = f"{sizes[chosen] / sizes[largest]:.0%} of the parameters"
        ours, theirs = (cost.get((name, model["replicate"])) or {} for name in (chosen, largest))
        if ours.get("speed") and theirs.get("speed"):
            words += f" and {float(ours['speed']) / float(theirs['speed']):.2f} times the speed"
        line = f"{words} of {largest}, the largest of {len(sizes)}"
        found.setdefault((model["name"], chosen, line), []).append(model["replicate"])
    if len(outcomes.replicates) == 1:
        return [f"{name} is {chosen}: {line}." for name, chosen, line in found]
    return [f"{name} is {chosen} in {', '.join(where)}: {line}." for (name, chosen, line), where in found.items()]


# -- what layers and heads are worth -----------------------------------------------------------------------------------
def layer_rows(outcomes: Outcomes, provenance: Records) -> dict[str, list[dict[str, Any]]]:
    """Side -> a row a layer of every model that was searched, in the first replicate: model (and what was measured), layer
    (from 1, of what was pruned), worth (0 for the least in its model, 1 for the most), kept, words."""
    sides: dict[str, list[dict[str, Any]]] = {}
    for model in outcomes.models:
        record = provenance.get((model["name"], outcomes.replicates[0])) or {}
        plans = ((record.get("chosen") or {}) if model["verb"] == "prune" else {}).get("layers") or {}
        if model["replicate"] != outcomes.replicates[0]:
            continue
        for side, plan in plans.items():
            worth, words = layer_worth(plan)
            scaled = scale(worth)
            kept = set(plan["kept"])
            sides.setdefault(side, []).extend(
                {"model": label(model), "layer": n, "worth": scaled[n], "kept": n in kept, "words": words[n]}
                for n in sorted(worth)
            )
    return {side: rows for side, rows in sides.items() if rows}


def layer_worth(plan: Mapping[str, Any]) -> tuple[dict[int, float], dict[int, str]]:
    """Layer, from 1 -> how much it matters, in whatever unit, and that in words; from the trace of a search: learned
    scores, the result without the layer, how much it changes its input, or the order in which layers went. Nothing where
    no number belongs to a layer."""
    trace, metric = plan.get("trace") or [], plan.get("metric") or "loss"
    layers = sorted([*plan["kept"], *plan["dropped"]])
    by_layer = {step["layer"]: step for step in trace if isinstance(step.get("layer"), int)}
    if len(by_layer) == len(layers) and all("score" in step for step in by_layer.values()):
        worth = {n: float(step["score"]) for n, step in by_layer.items()}
        return worth, {n: f"learned score {v:.3g}" for n, v in worth.items()}
    if len(by_layer) == len(layers) and all("influence" in step for step in by_layer.values()):
        worth = {n: float(step["influence"]) for n, step in by_layer.items()}
        return worth, {n: f"changes its input by {v:.3g}" for n, v in worth.items()}
    if len(by_layer) == len(layers) and not any("step" in step for step in by_layer.values()):
        # a score in the metric's own direction: what is lost without the layer is what it is worth
        without = {n: float(step["objective"]) for n, step in by_layer.items()}
        worth = {n: -metric_named(metric).gain(v) for n, v in without.items()}
        return worth, {n: f"{metric_title(metric)} {v:.3g} without it" for n, v in without.items()}
    gone = [step for step in trace if "step" in step and step.get("layer") in plan["dropped"]]
    if gone:
        order = {step["layer"]: i for i, step in enumerate(gone, 1)}
        # what a swap took in the end, or another set than the search's own (rank), has no place in the order
        how = "went by a swap" if any("swap" in step for step in trace) else "went with the set that was taken"
        last = {n: how for n in plan["dropped"] if n not in order}
        worth = {n: float(order.get(n, len(gone) + (n not in last))) for n in layers}
        result = {step["layer"]: f", {metric_title(metric)} {step['objective']:.3g} then" for step in gone}
        return worth, {
            n: f"went as number {order[n]}{result[n]}" if n in order else last.get(n, "stays") for n in layers
        }
    return {}, {}


def scale(worth: Mapping[int, float]) -> dict[int, float]:
    """The same from 0 (least) to 1 (most); what can't be measured is worth most."""
    finite = [v for v in worth.values() if math.isfinite(v)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    span = (high - low) or 1.0
    return {n: (v - low) / span if math.isfinite(v) else 1.0 for n, v in worth.items()}


def head_maps(outcomes: Outcomes, provenance: Records) -> list[dict[str, Any]]:
    """For up to four models whose heads were scored, in the first replicate: title, by, and a row a head: place (group and
    layer), layer, head (from 1), worth (0 to 1), kept, words."""
    found = []
    for model in outcomes.models:
        record = provenance.get((model["name"], outcomes.replicates[0])) or {}
        plan = ((record.get("chosen") or {}) if model["verb"] == "prune" else {}).get("heads") or {}
        if model["replicate"] != outcomes.replicates[0] or not plan.get("scores"):
            continue
        places = [
            (g, n, h, v)
            for g, by in plan["scores"].items()
            for n, row in enumerate(by, 1)
            for h, v in enumerate(row, 1)
        ]
        scaled = scale({i: float(v) for i, (*_, v) in enumerate(places)})
        removed = {(g, int(n), h) for g, by in (plan.get("removed") or {}).items() for n, hs in by.items() for h in hs}
        rows = [
            {"place": f"{g} {n}", "head": h, "worth": scaled[i], "kept": (g, n, h) not in removed}
            | {"words": f"score {v:.3g}"}
            for i, (g, n, h, v) in enumerate(places)
        ]
        found.append({"title": label(model), "by": plan.get("by", ""), "rows": rows})
    return found[:HEAD_MAPS]
