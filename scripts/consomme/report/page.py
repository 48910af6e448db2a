"""report.html: one file that answers first and opens without a network."""

from __future__ import annotations

import difflib
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from consomme.common.digest import canonical
from consomme.common.files import read_json, write_text
from consomme.report.dag import graph_of_models, svg
from consomme.report.evidence.claims import Comparison, averages, is_run, named, root
from consomme.report.landscape import BARRIER, basin_words, landscapes, rows_words, steps_words
from consomme.report.outcomes import Outcomes, read_hypotheses
from consomme.report.path import on_development, on_test
from consomme.report.series import series, words
from consomme.report.tables import (
    OTHER,
    VERDICTS,
    Score,
    against_best,
    cautions,
    claim_title,
    final_model,
    first_to_last,
    headline,
    mean_scores,
    median_runs,
    metric_title,
    not_faster,
    p_text,
    reading,
    short,
    shown_speed,
    signed,
    spread,
    standing,
    swept_nodes,
)

EXAMPLES = 10


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
    shown = context(outcomes, found, comparisons, costs)
    charts = json.dumps(shown["charts"], sort_keys=True, ensure_ascii=False).replace("</", "<\\/")
    library = draw.library() if shown["charts"] else ""
    write_text(path, environment.get_template("page.html").render(shown | {"charts": charts, "library": library}))


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
    provenance = _provenance(outcomes)
    claims = [c for c in comparisons if c.declared]
    explored = [c for c in comparisons if not c.declared]
    last = final_model(outcomes)
    first = root(outcomes, last) if last else None
    path_of, path_sets, path = on_development(outcomes, provenance, metric)
    dev_sets = path_sets or [s for s in sets if s in outcomes.sets("dev")] or outcomes.sets("dev")
    optimism = _optimism(outcomes, found, provenance, metric)
    swept = {run: node for node, names in swept_nodes(outcomes).items() for run in names}
    chosen = {f"{row['replicate']} {run}" for row in _bests(outcomes, provenance) for run in row["runs"]}
    charts = {
        "pareto": draw.pareto(
            found, "test", sets, metric, higher, runs, on_test(outcomes, provenance, found, metric, sets)
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
    pictures = _pruning(outcomes, found, costs, provenance, metric, higher)
    pruning_charts = {key: chart for group in pictures.values() for key, chart in group["charts"].items()}
    every = {**charts, **series_charts, **cost_charts, **choice_charts, **landscape_charts, **pruning_charts}
    charts = {k: v for k, v in every.items() if v}
    shown_pruning = {k: {**g, "charts": [c for c in g["charts"] if c in charts]} for k, g in pictures.items()}
    return {
        "experiment": outcomes.spec["experiment"],
        "task": outcomes.spec["task"],
        "headline": headline(claims),
        "journey": first_to_last(outcomes, found, costs),
        "verdicts": [_verdict(c, claims) for c in claims],
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
        "compact": pruning.compact(outcomes, costs, provenance),
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
        "examples": _examples(outcomes, first, last, metric) if first and first != last else [],
        "first": first,
        "last": last,
        "claims": [_evidence(c) for c in claims],
        "explored": [_evidence(c) for c in explored],
        "signatures": _signatures(outcomes),
        **_overlaps(outcomes),
        "provenance": [_made(m) for m in outcomes.models if not is_run(m)],
        "run_provenance": [_made(m) for m in outcomes.models if is_run(m)],
        "settings": _settings(outcomes, provenance),
        "versions": _versions(provenance),
        "charts": charts,
    }


# -- verdicts --------------------------------------------------------------------------------------------------------


def _verdict(c: Comparison, claims: Sequence[Comparison]) -> dict[str, Any]:
    p = p_text(c.p)
    if c.p_holm is not None and c.p_holm != c.p:
        p += f", after Holm {p_text(c.p_holm).removeprefix('p ')}"
    notes = [f"{spread(c)[0].upper()}{spread(c)[1:]}." if c.replicates > 1 else ""]
    notes += [f"Only {c.units} independent units." if c.few else ""]
    return {
        "state": c.verdict,
        "title": claim_title(c),
        "word": VERDICTS[c.verdict],
        "reading": reading(c),
        "numbers": f"{signed(c.difference)} {metric_title(c.metric)}, {signed(c.ci_low)} to {signed(c.ci_high)}, {p}.".replace(
            "p ", "p\u00a0"
        ),
        "notes": " ".join(n for n in notes if n),
        "picture": _interval_picture(c, [o for o in claims if o.metric == c.metric]),
    }


def _interval_picture(c: Comparison, alike: Sequence[Comparison]) -> str:
    """An interval on the axis that all claims in this metric share."""
    ends = [x for o in alike for x in (o.ci_low, o.ci_high, *(d for _, d in o.by_replicate), -(o.margin or 0.0), 0.0)]
    low, high = min(ends), max(ends)
    pad = 0.06 * (high - low or 1.0)
    low, high = low - pad, high + pad

    def x(value: float) -> str:
        return f"{240 * (value - low) / (high - low):.1f}"

    colour = {"holds": "var(--good)", "open": "var(--open)", "fails": "var(--bad)"}[c.verdict]
    # the two marks' labels keep out of each other's way
    near = bool(c.margin) and 240 * c.margin / (high - low) < 22
    middle = "start" if near else "middle"
    parts = [
        f'<svg viewBox="0 0 240 44" role="img" aria-label="{signed(c.difference)}, {signed(c.ci_low)} to {signed(c.ci_high)}">',
        f'<line x1="{x(0)}" x2="{x(0)}" y1="2" y2="32" stroke="var(--soft)"/>',
        f'<text x="{x(0)}" y="43" font-size="10" text-anchor="{middle}" fill="var(--soft)">0</text>',
    ]
    if c.margin:
        at = x(-c.margin)
        parts.append(f'<line x1="{at}" x2="{at}" y1="2" y2="32" stroke="var(--soft)" stroke-dasharray="3 3"/>')
        side = "end" if near else "middle"
        parts.append(
            f'<text x="{at}" y="43" font-size="10" text-anchor="{side}" fill="var(--soft)">−{c.margin:g}</text>'
        )
    parts.append(
        f'<line x1="{x(c.ci_low)}" x2="{x(c.ci_high)}" y1="17" y2="17" stroke="{colour}" stroke-width="3" stroke-linecap="round"/>'
    )
    if c.replicates > 1:
        parts += [f'<circle cx="{x(d)}" cy="26" r="2" fill="var(--soft)"/>' for _, d in c.by_replicate]
    parts.append(f'<circle cx="{x(c.difference)}" cy="17" r="5" fill="{colour}"/></svg>')
    return "".join(parts)


def _evidence(c: Comparison) -> dict[str, str]:
    margin = f" within {c.margin:g}" if c.margin is not None else ""
    return {
        "claim": c.claim,
        "model": c.model,
        "against": c.against,
        "relation": f"{c.hypothesis} {c.against}{margin}",
        "set": c.set,
        "metric": metric_title(c.metric),
        "difference": signed(c.difference),
        "interval": f"{signed(c.ci_low)} to {signed(c.ci_high)}",
        "visible": f"{c.detectable:.2f}",
        "p": f"{c.p:.4f}",
        "p_holm": "" if c.p_holm is None else f"{c.p_holm:.4f}",
        "spread": " ".join(signed(d) for _, d in c.by_replicate),
        "method": c.method,
    }


# -- models ----------------------------------------------------------------------------------------------------------


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
    provenance: Mapping[tuple[str, str], Mapping[str, Any]],
    metric: str,
    higher: bool,
) -> dict[str, dict[str, Any]]:
    """The pictures of pruning by kind: charts by key (None where there is nothing to draw), and the titles that they need."""
    from consomme.report import prune_charts as draw
    from consomme.report import pruning

    fronts = {}
    for i, name in enumerate(outcomes.sets("test")[:2]):
        for field in ("parameters", "speed"):
            rows = pruning.points(outcomes, found, costs, provenance, name, metric, field)
            unit = next((c["speed_unit"] for c in costs if c.get("speed_unit")), "")
            fronts[f"front_{field}_{i}"] = draw.front(rows, name, metric, higher, field, unit)
    chosen = pruning.budgets(outcomes, provenance)
    heads = pruning.head_maps(outcomes, provenance)
    layers = pruning.layer_rows(outcomes, provenance)
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
    cost = {c["model"]: c for c in reversed(costs)}
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


def _bests(outcomes: Outcomes, provenance: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[dict[str, Any]]:
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


def _optimism(
    outcomes: Outcomes,
    found: Sequence[Score],
    provenance: Mapping[tuple[str, str], Mapping[str, Any]],
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
        for name in [s for s in outcomes.sets("test") if s in outcomes.sets("dev")]:
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


# -- sentences -------------------------------------------------------------------------------------------------------


def _examples(outcomes: Outcomes, first: str, last: str, metric: str) -> list[dict[str, Any]]:
    replicate = outcomes.replicates[0]
    # a sentence's own BLEU is 0 for want of a 4-gram; chrF tells sentences apart
    judged = "chrf" if metric == "bleu" else metric
    record, sign = outcomes.metric(judged), outcomes.sign(judged)
    groups = []
    for name in outcomes.sets("test"):
        key = (replicate, "test", name)
        if (first, *key) not in outcomes.sheets or (last, *key) not in outcomes.sheets:
            continue
        before, after = outcomes.sheets[first, *key], outcomes.sheets[last, *key]
        gain = sign * (
            record.value(outcomes.statistics(after, judged)) - record.value(outcomes.statistics(before, judged))
        )
        ids, references, old = read_hypotheses(before.path)
        _, _, new = read_hypotheses(after.path)
        weight = np.ones(len(ids))
        if not record.higher_is_better:  # an error rate of a short utterance says little: rank by errors
            weight = np.array([max(1, len(r.split())) for r in references], dtype=float)
        order = sorted(range(len(ids)), key=lambda i: (gain[i] * weight[i], i))
        rows = outcomes.rows(before.corpora) if outcomes.spec["task"] == "nmt" else None
        for title, chosen in (
            (f"{name}: got worse", [i for i in order[:EXAMPLES] if gain[i] < 0]),
            (f"{name}: got better", [i for i in order[::-1][:EXAMPLES] if gain[i] > 0]),
        ):
            sentences = [
                {
                    "id": ids[i],
                    "change": f"{signed(float(gain[i]), 1)} {metric_title(judged)}",
                    "source": rows.source(i) if rows is not None else "",
                    "reference": references[i],
                    "before": marked(old[i], references[i]),
                    "after": marked(new[i], references[i]),
                }
                for i in chosen
            ]
            if sentences:
                groups.append({"title": title, "sentences": sentences})
    return groups


def marked(hypothesis: str, reference: str) -> str:
    """The hypothesis as HTML, with words that the reference doesn't have at their place marked."""
    said, wanted = hypothesis.split(), reference.split()
    parts = []
    for kind, a, b, _, _ in difflib.SequenceMatcher(None, said, wanted, autojunk=False).get_opcodes():
        words = html.escape(" ".join(said[a:b]))
        if words:
            parts.append(words if kind == "equal" else f"<mark>{words}</mark>")
    return " ".join(parts) or "<i>nothing</i>"


# -- overlap, provenance ---------------------------------------------------------------------------------------------


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


def _provenance(outcomes: Outcomes) -> dict[tuple[str, str], dict[str, Any]]:
    found = {}
    for model in outcomes.models:
        record = Path(model["folder"]) / "provenance.json"
        if record.exists():
            found[model["name"], model["replicate"]] = read_json(record)
    return found


def _made(model: Mapping[str, Any]) -> dict[str, str]:
    parents = list(model.get("parents", []))
    text = ", ".join(parents[:4]) + (f" and {len(parents) - 4} more" if len(parents) > 4 else "")
    return {k: str(model[k]) for k in ("name", "verb", "replicate", "folder")} | {"parents": text}


def _settings(outcomes: Outcomes, provenance: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Settings and choices of each named model, and of the first run of each sweep (its swept keys differ by name)."""
    shown = [*named(outcomes), *(names[0] for names in swept_nodes(outcomes).values())]
    replicate = outcomes.replicates[0]
    tables = []
    for name in shown:
        record = provenance.get((name, replicate))
        if record:
            kept = {k: v for k, v in record.items() if k not in ("label", "versions", "packages", "digest", "weights")}
            tables.append({"name": name, "rows": list(flat(kept))})
    return tables


def flat(value: Any, key: str = "") -> list[tuple[str, str]]:
    """Dotted keys and their values; lists and empty things stay as they are."""
    if isinstance(value, dict) and value:
        return [row for k, v in value.items() for row in flat(v, f"{key}.{k}" if key else str(k))]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return [(key, text if len(text) < 600 else f"{text[:600]} …")]


def _versions(provenance: Mapping[tuple[str, str], Mapping[str, Any]]) -> str:
    found: dict[str, set[str]] = {}
    for record in provenance.values():
        for name, version in (record.get("versions") or {}).items():
            found.setdefault(name, set()).add(str(version))
    return ", ".join(f"{name} {' and '.join(sorted(v))}" for name, v in sorted(found.items()))


def _signatures(outcomes: Outcomes) -> list[str]:
    return [outcomes.metric(m).signature() for m in outcomes.metrics]
