"""Findings on pruning, as plain rows: models before and after recovery, the choice within a budget, the importance of
layers and heads. `charts/pruning.py` draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consomme.evaluate.metrics import metric_named
from consomme.report.findings import speeds
from consomme.report.findings.means import BOUNDS, cost_per_model, in_one_window, mean_scores
from consomme.report.numbers import metric_title
from consomme.report.outcomes import Outcomes
from consomme.report.provenance import Records
from consomme.results.frames import plain

WHOLE, PRUNED, RECOVERED = "whole", "pruned", "recovered"

HEAD_MAPS = 4  # models whose heads are drawn


def pruned_from(outcomes: Outcomes) -> dict[str, str]:
    """Model -> the pruned model that it is, or that it was trained or averaged from; in the order of the experiment. A
    choice among models is left out, because it equals one of them."""
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
    scores: pd.DataFrame,
    costs: pd.DataFrame,
    provenance: Records,
    test: str,
    metric: str,
    field: str,
) -> list[dict[str, Any]]:
    """One row per pruned model, per model recovered from one, and per original model: quality on a test set (mean over
    replicates, with the interval) and a column of costs.tsv, parameters (in millions) or speed.

    Keys: model, label (short name), state, how (method of pruning), of (the pruned model), cost, cost_low, cost_high,
    value, low, high, front (whether it is on the Pareto front of cost and quality)."""
    means = mean_scores(scores, metric)
    means = means[means["set"] == test].set_index("model")[BOUNDS].set_axis(["value", "low", "high"], axis=1)
    cost = cost_per_model(costs).dropna(subset=field)
    behind, models = pruned_from(outcomes), {m["name"]: m for m in reversed(outcomes.models)}
    states = {name: PRUNED if name == pruned else RECOVERED for name, pruned in behind.items()}
    for name in behind.values():
        states.setdefault(_chosen(models[models[name]["parents"][0]], models, outcomes, provenance), WHOLE)
    states |= dict.fromkeys(controls(outcomes, states, cost["parameters"]), WHOLE)
    if not states:
        return []
    size = field == "parameters"
    amounts = cost[["parameters"] * 3] / 1e6 if size else cost[["speed", "speed_low", "speed_high"]]
    rows = pd.DataFrame(states.items(), columns=["model", "state"]).join(means, on="model", how="inner")
    rows = rows.join(amounts.set_axis(["cost", "cost_low", "cost_high"], axis=1), on="model", how="inner")
    rows["label"] = [label(models[name]) for name in rows["model"]]
    rows["of"] = [behind.get(name, "") for name in rows["model"]]
    rows["how"] = [how_pruned(models[of], provenance) if of else WHOLE for of in rows["of"]]
    rows["front"] = on_front(outcomes.sign(metric) * rows["value"], (-1 if size else 1) * rows["cost"])
    return plain(rows)


def _chosen(model: Mapping[str, Any], models: Mapping[str, Any], outcomes: Outcomes, provenance: Records) -> str:
    """The model, or for a choice the model chosen in the first replicate, which may be a pruned one."""
    seen = set()
    while (model.get("choice") or model["name"].endswith("/best")) and model["name"] not in seen:
        seen.add(model["name"])
        record = provenance.get((model["name"], outcomes.replicates[0])) or {}
        chosen = (record.get("chosen") or {}).get("ingredients") or []
        model = models.get(chosen[0], model) if chosen else model
    return str(model["name"])


def controls(outcomes: Outcomes, states: Mapping[str, str], sizes: pd.Series) -> list[str]:
    """Trained models as controls for the pruned ones: a whole model trained for longer, or a small one from scratch.
    sizes: parameters by model."""
    models = {m["name"]: m for m in reversed(outcomes.models)}
    wholes = {name for name, state in states.items() if state == WHOLE}
    whole_sizes = {sizes[name] for name in wholes if name in sizes}
    found = []
    for name, model in models.items():
        if model["verb"] != "train" or model.get("run") or name in states:
            continue
        at, seen = model, {name}
        while at and at.get("parents") and at["parents"][0] not in {*seen, *wholes}:
            seen.add(at["parents"][0])
            at = models.get(at["parents"][0])
        longer = bool(at and at.get("parents")) and at["parents"][0] in wholes
        smaller = name in sizes and bool(whole_sizes) and sizes[name] not in whole_sizes
        if longer or smaller:
            found.append(name)
    return found


def on_front(value: pd.Series, thrift: pd.Series) -> NDArray[np.bool_]:
    """Whether each row is on the Pareto front: no other row is at least as high in both and higher in one."""
    better, cheaper = (np.subtract.outer(gain.to_numpy(), gain.to_numpy()) for gain in (value, thrift))
    behind = (better >= 0) & (cheaper >= 0) & ((better > 0) | (cheaper > 0))
    return np.logical_not(behind.any(axis=0))


def label(model: Mapping[str, Any]) -> str:
    """A short name; for a run, its node and swept values."""
    if model.get("run") in (None, "", "best"):
        return model["name"]
    values = [str(v) for v in (model.get("swept") or {}).values()]
    return f"{model['node']} {' '.join(values)}" if values else model["name"]


def how_pruned(model: Mapping[str, Any], provenance: Records) -> str:
    """The method of pruning, such as `greedy`, `greedy merge mean`, or `encoder greedy, heads taylor`; the node's name if
    unknown."""
    settings = next((r.get("settings") or {} for (name, _), r in provenance.items() if name == model["name"]), {})
    layers = {side: plan for side, plan in (settings.get("layers") or {}).items() if plan}
    ways = {
        side: (plan.get("by") or "listed") + (f" merge {plan['merge']}" if plan.get("merge") else "")
        for side, plan in layers.items()
    }
    if len(set(ways.values())) == 1:
        ways = {"": next(iter(ways.values()))}
    others = {k: v for k, v in settings.items() if k != "layers" and isinstance(v, Mapping) and v.get("by")}
    ways |= {what: plan["by"] for what, plan in others.items()}
    return ", ".join(f"{what} {way}".strip() for what, way in ways.items()) or model["node"]


# -- the choice within a budget ----------------------------------------------------------------------------------------
def budgets(outcomes: Outcomes, searches: pd.DataFrame) -> list[dict[str, Any]]:
    """For each model chosen as the smallest or fastest within its limits, in the first replicate: title, set, metric, which
    of the two it is (chosen_as), and the rows of its curve on that set (model, label, cost: parameters in millions or speed,
    value, low, high, state)."""
    labels = {m["name"]: label(m) for m in outcomes.models}
    tried = searches[(searches["replicate"] == outcomes.replicates[0]) & searches["parameters"].notna()]
    tried = tried.assign(
        cost=tried["speed"].fillna(tried["parameters"] / 1e6),
        label=[labels.get(name, name) for name in tried["candidate"]],
        state=np.select([tried["chosen"] == True, tried["admissible"] == True], ["chosen", "within"], "outside"),  # noqa: E712
    )
    names = {"candidate": "model", "ci_low": "low", "ci_high": "high"}
    shown = ["model", "label", "cost", "value", "low", "high", "state"]
    return [
        {
            "title": model,
            "set": place,
            "metric": metric,
            "chosen_as": "smallest" if rows["speed"].isna().all() else "fastest",
            "rows": plain(rows.drop(columns="model").rename(columns=names)[shown]),
        }
        for (model, place, metric), rows in tried.groupby(["model", "set", "metric"], sort=False)
    ]


def compact(outcomes: Outcomes, costs: pd.DataFrame, searches: pd.DataFrame) -> list[str]:
    """For each model chosen as the smallest or fastest within its limits, a line per chosen candidate: its size and speed relative to
    the largest candidate, and the replicates that chose it."""
    cost = {(row["model"], row["replicate"]): row for row in in_one_window(costs).to_dict("records")}
    sizes = searches[searches["parameters"].notna()].drop_duplicates(["model", "replicate", "candidate"])
    found: dict[tuple[str, str, str], list[str]] = {}
    for (model, replicate), tried in sizes.groupby(["model", "replicate"], sort=False):
        parameters = tried.set_index("candidate")["parameters"]
        chosen, largest = str(tried["candidate"][tried["chosen"].fillna(False)].iloc[0]), str(parameters.idxmax())
        words = f"{parameters[chosen] / parameters[largest]:.0%} of the parameters"
        theirs, ours = (cost.get((name, replicate)) for name in (largest, chosen))
        faster = speeds.compared(theirs, ours) if theirs and ours else ""
        words += f" and {speeds.in_words(faster)}" if isinstance(faster, speeds.Ratio) else ""
        line = f"{words} of {largest}, the largest of {len(tried)}"
        line += f"; {faster}" if faster and isinstance(faster, str) else ""
        found.setdefault((str(model), chosen, line), []).append(str(replicate))
    if len(outcomes.replicates) == 1:
        return [f"{name} is {chosen}: {line}." for name, chosen, line in found]
    return [f"{name} is {chosen} in {', '.join(where)}: {line}." for (name, chosen, line), where in found.items()]


# -- what layers and heads are worth -----------------------------------------------------------------------------------
def layer_rows(outcomes: Outcomes, provenance: Records) -> dict[str, list[dict[str, Any]]]:
    """Side -> one row per layer of every searched model, in the first replicate: model (and the measure), layer (from 1,
    in the original model), worth (importance, from 0 to 1 within its model), kept, words."""
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
    """(layer, from 1 -> importance, layer -> the same in words), from the trace of a search: learned scores, the result
    without the layer, the change of its input, or the order of removal. Empty if the trace has no number per layer."""
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
        # importance is the loss of quality without the layer, in the metric's own direction
        without = {n: float(step["objective"]) for n, step in by_layer.items()}
        worth = {n: -metric_named(metric).gain(v) for n, v in without.items()}
        return worth, {n: f"{metric_title(metric)} {v:.3g} without it" for n, v in without.items()}
    gone = [step for step in trace if "step" in step and step.get("layer") in plan["dropped"]]
    if gone:
        order = {step["layer"]: i for i, step in enumerate(gone, 1)}
        # layers removed by a swap, or by taking another set than the search's best (rank), have no place in the order
        how = "removed by a swap" if any("swap" in step for step in trace) else "removed with the chosen set"
        last = {n: how for n in plan["dropped"] if n not in order}
        worth = {n: float(order.get(n, len(gone) + (n not in last))) for n in layers}
        result = {step["layer"]: f", {metric_title(metric)} {step['objective']:.3g} then" for step in gone}
        return worth, {
            n: f"removed as number {order[n]}{result[n]}" if n in order else last.get(n, "kept") for n in layers
        }
    return {}, {}


def scale(worth: Mapping[int, float]) -> dict[int, float]:
    """Importance scaled to 0 (least) .. 1 (most). Values that aren't finite become 1."""
    finite = [v for v in worth.values() if math.isfinite(v)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    span = (high - low) or 1.0
    return {n: (v - low) / span if math.isfinite(v) else 1.0 for n, v in worth.items()}


def head_maps(outcomes: Outcomes, provenance: Records) -> list[dict[str, Any]]:
    """For up to four models whose heads were scored, in the first replicate: title, by, and one row per head: place (group
    and layer), layer, head (from 1), worth (0 to 1), kept, words."""
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
