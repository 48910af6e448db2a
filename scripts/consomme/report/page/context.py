"""Everything that the page shows, as plain values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from consomme.common.values import spell
from consomme.report import provenance
from consomme.report.charts import landscape as landscape_charts
from consomme.report.charts import pruning as pruning_charts
from consomme.report.charts import scores as score_charts
from consomme.report.charts.dag import COLOURS, graph_of_models, svg
from consomme.report.evidence.claims import Comparison
from consomme.report.findings import luck, pruning
from consomme.report.findings.averages import against_best
from consomme.report.findings.domains import domains
from consomme.report.findings.effects import effect_of, effect_words
from consomme.report.findings.error_types import error_types
from consomme.report.findings.groups import absent
from consomme.report.findings.groups import shown as shown_groups
from consomme.report.findings.landscape import BARRIER, basin_words, landscapes, rows_words, steps_words
from consomme.report.findings.languages import by_language
from consomme.report.findings.means import (
    BOUNDS,
    WAYS,
    cost_per_model,
    mean_scores,
    median_runs,
    speed_unit,
    speeds_by_window,
)
from consomme.report.findings.path import on_development, on_test
from consomme.report.findings.seen import seen
from consomme.report.findings.series import series, words
from consomme.report.findings.settings import chosen_settings
from consomme.report.lineage import final_model, is_run, root, swept_nodes
from consomme.report.numbers import metric_title, short, shown_speed, signed
from consomme.report.outcomes import Outcomes
from consomme.report.page import register
from consomme.report.page.contents import contents
from consomme.report.page.curves import training_curves
from consomme.report.page.sentences import sentences
from consomme.report.page.verdicts import evidence, prospects
from consomme.report.registered import Registered
from consomme.report.trials import studies, values_in_words
from consomme.report.words.advice import advice
from consomme.report.words.before import trained_before
from consomme.report.words.claims import interval, standing
from consomme.report.words.methods import methods
from consomme.report.words.register import in_methods, opening
from consomme.report.words.summary import cautions, first_to_last, not_faster, stopped_words
from consomme.results.searches import searches


def context(
    outcomes: Outcomes,
    scores: pd.DataFrame,
    comparisons: Sequence[Comparison],
    costs: pd.DataFrame,
    groups: pd.DataFrame,
    registered: Registered | None = None,
) -> dict[str, Any]:
    """The values of `page.html`; `charts`: key -> Vega-Lite spec."""
    metric = outcomes.metrics[0] if outcomes.metrics else outcomes.spec["metric"]
    higher = outcomes.metric(metric).higher_is_better
    sets = outcomes.sets("test")
    runs = {m["name"] for m in outcomes.models if is_run(m)}
    records = provenance.records(outcomes)
    tried = searches(records)
    claims = [c for c in comparisons if c.declared]
    explored = [c for c in comparisons if not c.declared]
    last = final_model(outcomes)
    first = root(outcomes, last) if last else None
    path_of, path_sets, path = on_development(outcomes, tried, metric)
    dev_sets = path_sets or [s for s in sets if s in outcomes.sets("dev")] or outcomes.sets("dev")
    optimism = luck.optimism(outcomes, records, metric)
    swept = {run: node for node, names in swept_nodes(outcomes).items() for run in names}
    chosen = {f"{row['replicate']} {run}" for row in luck.bests(outcomes, records) for run in row["runs"]}
    charts = {
        "pareto": score_charts.pareto(
            scores, "test", sets, metric, higher, runs, on_test(outcomes, records, scores, metric, sets)
        ),
        "pareto_dev": score_charts.pareto(scores, "dev", dev_sets, metric, higher, runs, path),
    }
    cost_charts = {
        f"{field}_{i}": score_charts.quality_against_cost(scores, costs, name, metric, higher, field, runs)
        for field in ("parameters", "speed")
        for i, name in enumerate(sets[:2])
    }
    choice_charts = {
        f"choice_{i}": score_charts.dev_against_test(scores, name, metric, higher, swept, chosen)
        for i, name in enumerate(s for s in sets if s in outcomes.sets("dev"))
    }
    shown = landscapes(outcomes.spec)
    basins = {
        f"{kind}_{i}": picture(landscape)
        for i, landscape in enumerate(shown)
        for kind, picture in (("basin", landscape_charts.basin), ("more", landscape_charts.more_ingredients))
    }
    sequences = series(outcomes, scores, metric)
    sign = outcomes.sign(metric)
    series_charts = {
        f"series_{i}_{j}": score_charts.averages_by(each, name, metric, higher)
        for i, each in enumerate(sequences)
        for j, name in enumerate(sets)
    }
    pictures = _pruning(outcomes, scores, costs, records, tried, metric, higher)
    prunings = {key: chart for group in pictures.values() for key, chart in group["charts"].items()}
    every = {**charts, **series_charts, **cost_charts, **choice_charts, **basins, **prunings}
    charts = {k: v for k, v in every.items() if v}
    shown_pruning = {k: {**g, "charts": [c for c in g["charts"] if c in charts]} for k, g in pictures.items()}
    shown = {
        "experiment": outcomes.spec["experiment"],
        "task": outcomes.spec["task"],
        "advice": advice(outcomes, comparisons, scores, costs),
        "headline": opening(claims, registered),
        "journey": first_to_last(outcomes, scores, costs),
        "verdicts": register.verdicts(claims, registered),
        "register": register.section(outcomes, registered),
        "has_margin": any(c.hypothesis == "keeps" for c in claims),
        "cautions": [*cautions(outcomes, claims), *not_faster(outcomes, costs)],
        "sets": sets,
        "metric_word": metric_title(metric),
        "higher": higher,
        "replicates": outcomes.replicates,
        **_model_tables(outcomes, scores, costs, metric, runs),
        **_language_tables(outcomes, metric, runs),
        "error_types": error_types(outcomes, scores),
        "groups": shown_groups(outcomes, groups),
        "absent_groups": absent(outcomes, groups),
        "graph": svg(graph_of_models(outcomes.models, _test_means(scores, metric, sets))),
        "pareto": "pareto" in charts,
        "pareto_dev": "pareto_dev" in charts,
        "path_of": path_of,
        "cost_charts": [k for k in cost_charts if k in charts],
        "cost_device": ", ".join(sorted({*costs["device"]} - {""})) or "an unnamed device",
        "pruning": shown_pruning,
        "has_pruning": any(group["charts"] for group in shown_pruning.values()),
        "compact": pruning.compact(outcomes, costs, tried),
        "averages": _averages(outcomes, comparisons),
        "domains": _domains(outcomes, records, scores, metric),
        "chosen_settings": [*_trials(outcomes), *_chosen_settings(outcomes, records)],
        "landscapes": [
            {"title": s.title, "basin": basin_words(s), "steps": steps_words(s), "rows": rows_words(s)}
            | {"open": s.node not in [o.node for o in shown[:i]]}
            for i, s in enumerate(shown)
        ],
        "barrier": f"{BARRIER:g}",
        "series": [
            {"title": f"{each.node} by {each.key}"}
            | {"words": [words(each, name, sign, metric_title(metric)) for name in sets if each.gains(name, sign)]}
            | {"charts": [f"series_{i}_{j}" for j, name in enumerate(sets) if each.gains(name, sign)]}
            for i, each in enumerate(sequences)
        ],
        "optimism": optimism,
        "choice_charts": [k for k in choice_charts if k in charts],
        "sentences": sentences(outcomes, metric, first, last) if first and last else {},
        "claims": [evidence(c) | {"effect": effect_words(effect_of(outcomes, c))} for c in claims],
        "explored": [evidence(c) | {"effect": effect_words(effect_of(outcomes, c))} for c in explored],
        "prospects": prospects(claims),
        "signatures": [outcomes.signature(m) for m in outcomes.metrics],
        "methods": " ".join([methods(outcomes, records, comparisons), *in_methods(registered)]),
        **_overlaps(outcomes),
        "trained_before": trained_before(records, outcomes.before),
        "provenance": [provenance.made(m) for m in outcomes.models if not is_run(m)],
        "run_provenance": [provenance.made(m) for m in outcomes.models if is_run(m)],
        "settings": provenance.settings(outcomes, records),
        "versions": provenance.versions(records),
        "charts": charts,
        "curves": training_curves(outcomes, records),
    }
    return shown | {"contents": contents(shown)}


def _averages(outcomes: Outcomes, comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Each average of a sweep's runs against the best run, in words and numbers, by test set."""
    rows = []
    for row in against_best(outcomes, comparisons):
        cells = []
        for c in row["sets"].values():
            state, words = standing(c) if c else ("", "")
            claim = f" (claim {c.claim})" if c and c.declared else ""
            numbers = c and f"{signed(c.difference)}, {interval(c)}"
            cells.append(c and {"state": state, "words": words + claim, "numbers": numbers})
        rows.append({"average": row["average"], "best": row["best"], "cells": cells})
    return rows


def _domains(
    outcomes: Outcomes, records: provenance.Records, scores: pd.DataFrame, metric: str
) -> list[dict[str, Any]]:
    """Each group of specialists with its averages: the header of each set, and a row a model."""
    tables = []
    for table in domains(outcomes, records, scores, metric):
        kinds = {**dict.fromkeys(table.averages, "merged"), **dict.fromkeys(table.specialists, "specialist")}
        rows = [
            {"name": name, "kind": kinds.get(name, "base"), "mean": _percent(table.means[name])}
            | {"cells": [c and {"value": f"{c.value:.2f}", "share": _percent(c.share)} for c in cells.values()]}
            for name, cells in table.rows.items()
            if any(cells.values())
        ]
        tables.append(
            {"sets": [{"set": s, "specialist": of or "nobody's"} for s, of in table.sets.items()], "rows": rows}
        )
    return tables


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1f} %"


def _trials(outcomes: Outcomes) -> list[dict[str, Any]]:
    """The trials of each sweep with optuna, in each replicate, as the tables of tried settings are."""
    tables = []
    for (node, replicate), study in studies(outcomes).items():
        keys, metric = list(study["space"]), study["sampler"]["metric"]
        where = f", replicate {replicate}" if len(outcomes.replicates) > 1 else ""
        rows = [
            {"settings": f"trial {trial['number']}", "taken": trial["number"] == study["best"]}
            | {"fate": "chosen" if trial["number"] == study["best"] else trial["state"].replace("complete", "")}
            | {"values": [*(spell(trial["values"][key]) for key in keys), _score(trial["value"], metric)]}
            for trial in study["trials"]
        ]
        title = f"{len(rows)} trials of {node}, {metric_title(metric)} on the development sets{where}"
        tables.append({"title": title, "sets": [*keys, metric_title(metric)], "rows": rows})
    return tables


def _score(value: float | None, metric: str) -> str:
    return "" if value is None else f"{value:.{4 if metric == 'loss' else 2}f}"


def _chosen_settings(outcomes: Outcomes, records: provenance.Records) -> list[dict[str, Any]]:
    """The tables of tried settings, with numbers as text and the fate of each in words."""
    count = len(outcomes.replicates)

    def fate(row: dict[str, Any]) -> str:
        words = {"chosen": "chosen", "outside": "outside the limits"}
        return ", ".join(w + f" in {row[key]} of {count}" * (count > 1) for key, w in words.items() if row[key])

    return [
        {"title": f"{t['model']}, {metric_title(t['metric'])}", "sets": t["sets"]}
        | {
            "rows": [
                {"settings": row["settings"], "fate": fate(row), "taken": bool(row["chosen"])}
                | {"values": [_score(value, t["metric"]) for value in row["values"]]}
                for row in t["rows"]
            ]
        }
        for t in chosen_settings(outcomes, records)
    ]


def _pruning(
    outcomes: Outcomes,
    scores: pd.DataFrame,
    costs: pd.DataFrame,
    records: provenance.Records,
    tried: pd.DataFrame,
    metric: str,
    higher: bool,
) -> dict[str, dict[str, Any]]:
    """The pictures of pruning by kind: charts by key (None if there is nothing to draw), and their titles."""
    fronts = {}
    for i, name in enumerate(outcomes.sets("test")[:2]):
        for field in ("parameters", "speed"):
            rows = pruning.points(outcomes, scores, costs, records, name, metric, field)
            fronts[f"front_{field}_{i}"] = pruning_charts.front(rows, name, metric, higher, field, speed_unit(costs))
    chosen = pruning.budgets(outcomes, tried)
    heads = pruning.head_maps(outcomes, records)
    layers = pruning.layer_rows(outcomes, records)
    return {
        "fronts": {"charts": fronts},
        "budgets": {
            "charts": {
                f"budget_{i}": pruning_charts.budget(
                    b["rows"], b["chosen_as"], b["set"], b["metric"], outcomes.metric(b["metric"]).higher_is_better
                )
                for i, b in enumerate(chosen)
            },
            "titles": {f"budget_{i}": b["title"] for i, b in enumerate(chosen)},
            "chosen_as": {f"budget_{i}": b["chosen_as"] for i, b in enumerate(chosen)},
        },
        "layers": {"charts": {f"layers_{side}": pruning_charts.layers(rows, side) for side, rows in layers.items()}},
        "heads": {
            "charts": {f"heads_{i}": pruning_charts.heads(h["rows"]) for i, h in enumerate(heads)},
            "titles": {f"heads_{i}": f"{h['title']}, by {h['by']}" for i, h in enumerate(heads)},
        },
    }


def _test_means(scores: pd.DataFrame, metric: str, sets: Sequence[str]) -> dict[str, dict[str, float]]:
    rows = mean_scores(scores, metric)[["model", "set", "value"]].itertuples(index=False)
    means = {(model, name): value for model, name, value in rows}
    return {
        model: {name: means[model, name] for name in sets if (model, name) in means}
        for model in dict.fromkeys(model for model, _ in means)
    }


def _model_tables(
    outcomes: Outcomes, scores: pd.DataFrame, costs: pd.DataFrame, metric: str, runs: set[str]
) -> dict[str, Any]:
    columns = [(split, name) for split in ("test", "dev") for name in outcomes.sets(split)]
    for way in WAYS:
        columns += [(way, name) for name in dict.fromkeys(scores["set"][scores["split"] == way])]
    verbs = {m["name"]: m["verb"] for m in outcomes.models}
    means = mean_scores(scores, metric, split=None)
    cells = {
        (model, split, name): {
            "value": f"{value:.2f}",
            "interval": "" if math.isnan(low) else f"{low:.1f} – {high:.1f}",
        }
        for model, split, name, value, low, high in means[["model", "split", "set", *BOUNDS]].itertuples(index=False)
    }
    cost, speeds = cost_per_model(costs).reindex(list(verbs)), speeds_by_window(costs)
    units, values = cost["speed_unit"].to_dict(), values_in_words(outcomes)
    rows = [
        {"name": name, "cells": [cells.get((name, *column)) for column in columns], "run": name in runs}
        | {
            "note": stopped_words(outcomes, name) or values.get(name, ""),
            "colour": COLOURS["from" if verb == "start" else verb],
        }
        | {"parameters": "" if pd.isna(parameters) else short(parameters)}
        | {"speeds": ["" if pd.isna(speed) else f"{shown_speed(speed)} {units[name]}" for speed in fast]}
        for (name, verb), parameters, fast in zip(
            verbs.items(), cost["parameters"], speeds.reindex(list(verbs)).to_numpy(), strict=True
        )
    ]
    # the control for every choice among runs: the score of a typical run
    medians = median_runs(outcomes, scores, metric).reindex(columns=columns)
    for node, names in swept_nodes(outcomes).items():
        if node in medians.index:
            of = "its whole" if any(name in names for name, _ in outcomes.stopped) else len(names)
            row = {"name": f"{node}, median of {of} runs", "run": False, "colour": COLOURS["train"]}
            values = medians.loc[[node]].to_numpy(dtype=float)[0].tolist()
            row["cells"] = [
                None if math.isnan(value) else {"value": f"{value:.2f}", "interval": ""} for value in values
            ]
            at = next(i for i, r in enumerate(rows) if r["name"] in names)
            rows.insert(at, row | {"parameters": "", "speeds": [""] * len(speeds.columns), "note": ""})
    return {
        "columns": [{"split": split, "set": name} for split, name in columns],
        "has_costs": len(costs) > 0,
        "speeds": list(speeds.columns),
        "named_rows": [r for r in rows if not r["run"]],
        "run_rows": [r for r in rows if r["run"]],
    }


def _language_tables(outcomes: Outcomes, metric: str, runs: set[str]) -> dict[str, Any]:
    """Each model's score in each language of the test sets, and their mean; no rows where there is one language."""
    table = by_language(outcomes, metric)
    colours = {m["name"]: COLOURS["from" if m["verb"] == "start" else m["verb"]] for m in outcomes.models}
    rows = [
        {"name": name, "run": name in runs, "colour": colour, "cells": [f"{value:.2f}" for value in table.loc[name]]}
        for name, colour in colours.items()
        if name in table.index
    ]
    return {
        "languages": list(table.columns),
        "language_rows": [[r for r in rows if r["run"] == run] for run in (False, True)],
    }


def _overlaps(outcomes: Outcomes) -> dict[str, Any]:
    rows: list[dict[str, Any]] = [
        {"set": s.set, "n": s.rows, "by": s.by, "train": ", ".join(s.corpora), "counts": s.counts}
        for s in seen(outcomes)
    ]
    kinds = list(dict.fromkeys(k for row in rows for k in row["counts"]))
    return {"overlaps": rows, "overlap_kinds": kinds}
