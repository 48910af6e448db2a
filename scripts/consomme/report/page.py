"""report.html: one file that answers first and opens without a network."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.digest import canonical
from consomme.common.files import write_text
from consomme.report import luck, provenance
from consomme.report.dag import graph_of_models, svg
from consomme.report.evidence.claims import Comparison, is_run, root
from consomme.report.examples import examples
from consomme.report.landscape import BARRIER, basin_words, landscapes, rows_words, steps_words
from consomme.report.outcomes import Outcomes
from consomme.report.path import on_development, on_test
from consomme.report.series import series, words
from consomme.report.tables import (
    OTHER,
    Score,
    against_best,
    cautions,
    costs_of,
    final_model,
    first_to_last,
    headline,
    mean_scores,
    median_runs,
    metric_title,
    not_faster,
    short,
    shown_speed,
    signed,
    standing,
    swept_nodes,
)
from consomme.report.verdicts import evidence, verdict

if TYPE_CHECKING:
    from markupsafe import Markup


def write_page(
    path: Path,
    outcomes: Outcomes,
    found: Sequence[Score],
    comparisons: Sequence[Comparison],
    costs: Sequence[Mapping[str, str]],
) -> None:
    """Render the page. Equal inputs give equal bytes."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from consomme.report import charts as draw

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["marked"] = marked
    shown = context(outcomes, found, comparisons, costs)
    charts = json.dumps(shown["charts"], sort_keys=True, ensure_ascii=False).replace("</", "<\\/")
    library = draw.library() if shown["charts"] else ""
    write_text(path, environment.get_template("page.html").render(shown | {"charts": charts, "library": library}))


def marked(text: str) -> Markup:
    """What stands between backticks in a line as code; everything else is escaped."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def context(
    outcomes: Outcomes,
    found: Sequence[Score],
    comparisons: Sequence[Comparison],
    costs: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    """Everything that a page shows, as plain values; charts: key -> Vega-Lite spec."""
    from consomme.report import charts as draw
    from consomme.report import pruning

    metric = outcomes.metrics[0] if outcomes.metrics else outcomes.spec["metric"]
    higher = outcomes.metric(metric).higher_is_better
    sets = outcomes.sets("test")
    runs = {m["name"] for m in outcomes.models if is_run(m)}
    records = provenance.records(outcomes)
    claims = [c for c in comparisons if c.declared]
    explored = [c for c in comparisons if not c.declared]
    last = final_model(outcomes)
    first = root(outcomes, last) if last else None
    path_of, path_sets, path = on_development(outcomes, records, metric)
    dev_sets = path_sets or [s for s in sets if s in outcomes.sets("dev")] or outcomes.sets("dev")
    optimism = luck.optimism(outcomes, found, records, metric)
    swept = {run: node for node, names in swept_nodes(outcomes).items() for run in names}
    chosen = {f"{row['replicate']} {run}" for row in luck.bests(outcomes, records) for run in row["runs"]}
    charts = {
        "pareto": draw.pareto(
            found, "test", sets, metric, higher, runs, on_test(outcomes, records, found, metric, sets)
        ),
        "pareto_dev": draw.pareto(found, "dev", dev_sets, metric, higher, runs, path),
    }
    cost_charts = {
        f"{field}_{i}": draw.quality_against_cost(found, costs, name, metric, higher, field, runs)
        for field in ("parameters", "speed")
        for i, name in enumerate(sets[:2])
    }
    choice_charts = {
        f"choice_{i}": draw.dev_against_test(found, name, metric, higher, swept, chosen)
        for i, name in enumerate(s for s in sets if s in outcomes.sets("dev"))
    }
    shown = landscapes(outcomes.spec)
    landscape_charts = {
        f"{kind}_{i}": picture(landscape)
        for i, landscape in enumerate(shown)
        for kind, picture in (("basin", draw.basin), ("more", draw.more_ingredients))
    }
    sequences = series(outcomes, found, metric)
    sign = outcomes.sign(metric)
    series_charts = {
        f"series_{i}_{j}": draw.averages_by(each, name, metric, higher)
        for i, each in enumerate(sequences)
        for j, name in enumerate(sets)
    }
    pictures = _pruning(outcomes, found, costs, records, metric, higher)
    pruning_charts = {key: chart for group in pictures.values() for key, chart in group["charts"].items()}
    every = {**charts, **series_charts, **cost_charts, **choice_charts, **landscape_charts, **pruning_charts}
    charts = {k: v for k, v in every.items() if v}
    shown_pruning = {k: {**g, "charts": [c for c in g["charts"] if c in charts]} for k, g in pictures.items()}
    return {
        "experiment": outcomes.spec["experiment"],
        "task": outcomes.spec["task"],
        "headline": headline(claims),
        "journey": first_to_last(outcomes, found, costs),
        "verdicts": [verdict(c, claims) for c in claims],
        "has_margin": any(c.hypothesis == "keeps" for c in claims),
        "cautions": [*cautions(outcomes, claims), *not_faster(outcomes, costs)],
        "sets": sets,
        "metric_word": metric_title(metric),
        "higher": higher,
        "replicates": outcomes.replicates,
        **_model_tables(outcomes, found, costs, metric, runs),
        "graph": svg(graph_of_models(outcomes.models, _test_means(found, metric, sets))),
        "pareto": "pareto" in charts,
        "pareto_dev": "pareto_dev" in charts,
        "path_of": path_of,
        "cost_charts": [k for k in cost_charts if k in charts],
        "cost_device": ", ".join(sorted({c.get("device", "") for c in costs} - {""})) or "an unnamed device",
        "pruning": shown_pruning,
        "has_pruning": any(group["charts"] for group in shown_pruning.values()),
        "compact": pruning.compact(outcomes, costs, records),
        "averages": _averages(outcomes, comparisons),
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
        "examples": examples(outcomes, first, last, metric) if first and first != last else [],
        "first": first,
        "last": last,
        "claims": [evidence(c) for c in claims],
        "explored": [evidence(c) for c in explored],
        "signatures": _signatures(outcomes),
        **_overlaps(outcomes),
        "provenance": [provenance.made(m) for m in outcomes.models if not is_run(m)],
        "run_provenance": [provenance.made(m) for m in outcomes.models if is_run(m)],
        "settings": provenance.settings(outcomes, records),
        "versions": provenance.versions(records),
        "charts": charts,
    }


def _averages(outcomes: Outcomes, comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Each average of a sweep's runs against the best of them, in words and numbers, by test set."""
    rows = []
    for row in against_best(outcomes, comparisons):
        cells = []
        for c in row["sets"].values():
            state, words = standing(c) if c else ("", "")
            claim = f" (claim {c.claim})" if c and c.declared else ""
            numbers = c and f"{signed(c.difference)}, {signed(c.ci_low)} to {signed(c.ci_high)}"
            cells.append(c and {"state": state, "words": words + claim, "numbers": numbers})
        rows.append({"average": row["average"], "best": row["best"], "cells": cells})
    return rows


def _pruning(
    outcomes: Outcomes,
    found: Sequence[Score],
    costs: Sequence[Mapping[str, str]],
    records: provenance.Records,
    metric: str,
    higher: bool,
) -> dict[str, dict[str, Any]]:
    """The pictures of pruning by kind: charts by key (None where there is nothing to draw), and the titles that they need."""
    from consomme.report import prune_charts as draw
    from consomme.report import pruning

    fronts = {}
    for i, name in enumerate(outcomes.sets("test")[:2]):
        for field in ("parameters", "speed"):
            rows = pruning.points(outcomes, found, costs, records, name, metric, field)
            unit = next((c["speed_unit"] for c in costs if c.get("speed_unit")), "")
            fronts[f"front_{field}_{i}"] = draw.front(rows, name, metric, higher, field, unit)
    chosen = pruning.budgets(outcomes, records)
    heads = pruning.head_maps(outcomes, records)
    layers = pruning.layer_rows(outcomes, records)
    return {
        "fronts": {"charts": fronts},
        "budgets": {
            "charts": {
                f"budget_{i}": draw.budget(
                    b["rows"], b["set"], b["metric"], outcomes.metric(b["metric"]).higher_is_better
                )
                for i, b in enumerate(chosen)
            },
            "titles": {f"budget_{i}": b["title"] for i, b in enumerate(chosen)},
        },
        "layers": {"charts": {f"layers_{side}": draw.layers(rows, side) for side, rows in layers.items()}},
        "heads": {
            "charts": {f"heads_{i}": draw.heads(h["rows"]) for i, h in enumerate(heads)},
            "titles": {f"heads_{i}": f"{h['title']}, by {h['by']}" for i, h in enumerate(heads)},
        },
    }


def _test_means(found: Sequence[Score], metric: str, sets: Sequence[str]) -> dict[str, dict[str, float]]:
    means = mean_scores([s for s in found if s.metric == metric and s.split == "test"])
    return {
        model: {name: means[model, "test", name, metric][0] for name in sets if (model, "test", name, metric) in means}
        for model in dict.fromkeys(s.model for s in found)
    }


def _model_tables(
    outcomes: Outcomes, found: Sequence[Score], costs: Sequence[Mapping[str, str]], metric: str, runs: set[str]
) -> dict[str, Any]:
    from consomme.report.charts import COLOURS

    columns = [{"split": split, "set": name} for split in ("test", "dev") for name in outcomes.sets(split)]
    columns += [{"split": OTHER, "set": name} for name in dict.fromkeys(s.set for s in outcomes.others)]
    means = mean_scores([s for s in found if s.metric == metric])
    cost = costs_of(costs)
    rows = []
    for name, verb in {m["name"]: m["verb"] for m in outcomes.models}.items():
        cells = []
        for column in columns:
            numbers = means.get((name, column["split"], column["set"], metric))
            cells.append(numbers and {"value": f"{numbers[0]:.2f}", "interval": f"{numbers[1]:.1f} – {numbers[2]:.1f}"})
        own = cost.get(name, {})
        rows.append(
            {"name": name, "cells": cells, "run": name in runs, "colour": COLOURS["from" if verb == "start" else verb]}
            | {"parameters": short(float(own["parameters"])) if own.get("parameters") else ""}
            | {"speed": f"{shown_speed(float(own['speed']))} {own.get('speed_unit', '')}" if own.get("speed") else ""}
        )
    # the control of every choice among runs: what one of them, taken blindly, is as likely above as below
    nodes = swept_nodes(outcomes)
    for node, values in median_runs(outcomes, found).items():
        places = [values.get((column["split"], column["set"], metric)) for column in columns]
        row = {"name": f"{node}, median of {len(nodes[node])} runs", "run": False, "colour": COLOURS["train"]}
        row["cells"] = [v if v is None else {"value": f"{v:.2f}", "interval": ""} for v in places]
        at = next(i for i, r in enumerate(rows) if r["name"] in nodes[node])
        rows.insert(at, row | {"parameters": "", "speed": ""})
    return {
        "columns": columns,
        "has_costs": bool(costs),
        "named_rows": [r for r in rows if not r["run"]],
        "run_rows": [r for r in rows if r["run"]],
    }


def _overlaps(outcomes: Outcomes) -> dict[str, Any]:
    from consomme.data.overlap import overlap

    rows: dict[str, dict[str, Any]] = {}
    for replicate in outcomes.replicates:
        trained = outcomes.spec.get("train", {}).get(replicate, {})
        corpora = sorted({c for names in trained.values() for c in names})
        for name, tested in outcomes.spec["sets"][replicate].get("test", {}).items():
            key = canonical([name, tested, corpora])
            if not corpora or key in rows:
                continue
            test = outcomes.rows(tested)
            counts = dict(overlap(outcomes.rows(corpora), test))
            rows[key] = {"set": name, "n": len(test), "train": ", ".join(corpora), "counts": counts}
    kinds = list(dict.fromkeys(k for row in rows.values() for k in row["counts"]))
    return {"overlaps": list(rows.values()), "overlap_kinds": kinds}


def _signatures(outcomes: Outcomes) -> list[str]:
    return [outcomes.metric(m).signature() for m in outcomes.metrics]
