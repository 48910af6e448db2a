"""The charts of the page: Vega-Lite specs made with altair. Colours of text and lines come from the page's style."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt

from consomme.report import labels
from consomme.report.landscape import BARRIER, Landscape
from consomme.report.series import Series
from consomme.report.tables import Score, costs_of, mean_scores, metric_title

# readable on white and on near-black alike
COLOURS = {
    "from": "#878d96",
    "train": "#4589d6",
    "average": "#e0762b",
    "prune": "#2f9e6b",
    "export": "#9a6ad0",
}
SHAPES = {"from": "diamond", "train": "circle", "average": "square", "prune": "triangle-down", "export": "triangle-up"}
WORDS = {"from": "start", "train": "trained", "average": "averaged", "prune": "pruned", "export": "exported"}


def verb_word(kind: str) -> str:
    """How the legend calls a verb."""
    return WORDS["from" if kind == "start" else kind]


def _kinds(rows: Sequence[Mapping[str, Any]]) -> tuple[alt.Color, alt.Shape]:
    present = {row["made"] for row in rows}
    order = [v for v in COLOURS if WORDS[v] in present]
    names = [WORDS[v] for v in order]
    colour = alt.Color("made:N", title=None, scale=alt.Scale(domain=names, range=[COLOURS[v] for v in order]))
    shape = alt.Shape("made:N", title=None, scale=alt.Scale(domain=names, range=[SHAPES[v] for v in order]))
    return colour, shape


def chart_of(rows: Iterable[Mapping[str, Any]]) -> Any:
    """A chart of the rows. altair's decorator hides from type checkers what its marks return, so this says nothing."""
    return alt.Chart(alt.Data(values=list(rows)))


def better(metric: str, higher: bool) -> str:
    """A metric's name, and which way it runs."""
    return f"{metric_title(metric)} ({'higher' if higher else 'lower'} is better)"


def pareto(
    found: Sequence[Score],
    split: str,
    sets: Sequence[str],
    metric: str,
    higher: bool,
    runs: set[str],
    path: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any] | None:
    """The first set against the second, a point a model (mean over replicates), with 95 % intervals both ways.

    Axes are turned so that up and right are better. path: points between two models (`report.path`), drawn as a line; those
    that were chosen in some replicates are crossed."""
    if len(sets) < 2:
        return None
    x_set, y_set = sets[:2]
    means = mean_scores([s for s in found if s.split == split and s.metric == metric])
    kinds = {s.model: s.kind for s in found}
    rows: list[dict[str, Any]] = []
    for model in dict.fromkeys(s.model for s in found):
        x, y = means.get((model, split, x_set, metric)), means.get((model, split, y_set, metric))
        if x and y:
            rows.append(
                {"model": model, "made": verb_word(kinds[model]), "run": model in runs}
                | {"x": x[0], "x_low": x[1], "x_high": x[2], "y": y[0], "y_low": y[1], "y_high": y[2]}
                | {"label": "" if model in runs else model}
            )
    if not rows:
        return None
    rows.sort(key=lambda row: not row["run"])  # what is drawn later lies on top
    scale = alt.Scale(zero=False, reverse=not higher, nice=True, padding=18)
    numbers = alt.Axis(grid=True)
    x = alt.X("x:Q", title=f"{x_set}, {better(metric, higher)}", scale=scale, axis=numbers)
    y = alt.Y("y:Q", title=f"{y_set}, {better(metric, higher)}", scale=scale, axis=numbers)
    colour, shape = _kinds(rows)
    faint = alt.when("datum.run").then(alt.value(0.22)).otherwise(alt.value(0.65))
    base = chart_of(rows)
    tooltip = [
        alt.Tooltip("model:N"),
        alt.Tooltip("made:N"),
        *(
            alt.Tooltip(f"{field}:Q", title=f"{name}{part}", format=".2f")
            for axis, name in (("x", x_set), ("y", y_set))
            for field, part in ((axis, ""), (f"{axis}_low", " from"), (f"{axis}_high", " to"))
        ),
    ]
    layers = [
        base.mark_rule(strokeWidth=1.2).encode(
            x=alt.X("x_low:Q", scale=scale), x2="x_high:Q", y=y, color=colour, opacity=faint
        ),
        base.mark_rule(strokeWidth=1.2).encode(
            y=alt.Y("y_low:Q", scale=scale), y2="y_high:Q", x=x, color=colour, opacity=faint
        ),
        base.mark_point(filled=True, opacity=1).encode(
            x=x,
            y=y,
            color=colour,
            shape=shape,
            size=alt.when("datum.run").then(alt.value(38)).otherwise(alt.value(110)),
            opacity=alt.when("datum.run").then(alt.value(0.6)).otherwise(alt.value(1)),
            tooltip=tooltip,
        ),
        *labels.layers(
            rows,
            "label",
            labels.Axis("x", [row[f] for row in rows for f in ("x_low", "x_high")], turned=not higher),
            labels.Axis("y", [row[f] for row in rows for f in ("y_low", "y_high")], turned=not higher),
            420,
            {"x": x, "y": y},
        ),
    ]
    if path:
        line = chart_of(path).encode(x=x, y=y, order="share:Q")
        orange = COLOURS["average"]
        whiskers = line.mark_rule(strokeWidth=1, opacity=0.35, color=orange)
        about = [
            alt.Tooltip("share:Q", format=".2f"),
            *(alt.Tooltip(f"{a}:Q", title=n, format=".2f") for a, n in (("x", x_set), ("y", y_set))),
            alt.Tooltip("chosen:Q", title="chosen in replicates"),
        ]
        layers = [
            line.mark_line(strokeDash=[4, 3], color=orange),
            whiskers.transform_filter("isValid(datum.x_low)").encode(x=alt.X("x_low:Q", scale=scale), x2="x_high:Q"),
            whiskers.transform_filter("isValid(datum.y_low)").encode(y=alt.Y("y_low:Q", scale=scale), y2="y_high:Q"),
            line.mark_point(size=22, filled=True, color=orange, opacity=1).encode(tooltip=about),
            *layers,
            line.transform_filter("datum.chosen > 0")
            .mark_point(shape="cross", angle=45, size=150, filled=False, strokeWidth=2.2, color=orange, opacity=1)
            .encode(tooltip=about),
        ]
    return finish(alt.layer(*layers), 420)


def quality_against_cost(
    found: Sequence[Score],
    costs: Sequence[Mapping[str, str]],
    test: str,
    metric: str,
    higher: bool,
    field: str,
    runs: set[str],
) -> dict[str, Any] | None:
    """Quality on one test set against a column of costs.tsv (parameters or speed), named models only."""
    means = mean_scores([s for s in found if s.split == "test" and s.set == test and s.metric == metric])
    kinds = {s.model: s.kind for s in found}
    rows, unit = [], ""
    for cost in costs_of(costs).values():
        score = means.get((cost["model"], "test", test, metric))
        if not score or not cost.get(field) or cost["model"] in runs or cost["model"].endswith("/best"):
            continue
        amount = float(cost[field]) / (1e6 if field == "parameters" else 1)
        unit = "million parameters" if field == "parameters" else cost.get("speed_unit", "")
        rows.append(
            {"model": cost["model"], "made": verb_word(kinds[cost["model"]]), "cost": amount}
            | {"value": score[0], "low": score[1], "high": score[2]}
        )
    if len({row["cost"] for row in rows}) < 2:
        return None
    colour, shape = _kinds(rows)
    x = alt.X("cost:Q", title=unit, scale=alt.Scale(zero=False, padding=24), axis=alt.Axis(tickCount=6))
    scale = alt.Scale(zero=False, reverse=not higher, padding=12)
    y = alt.Y("value:Q", title=f"{test}, {better(metric, higher)}", scale=scale)
    base = chart_of(sorted(rows, key=lambda r: r["model"]))
    tooltip = ["model:N", alt.Tooltip("cost:Q", title=unit, format=".3f"), alt.Tooltip("value:Q", format=".2f")]
    return finish(
        alt.layer(
            base.mark_rule(strokeWidth=1.2, opacity=0.6).encode(
                x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q", color=colour
            ),
            base.mark_point(filled=True, size=110, opacity=1).encode(
                x=x, y=y, color=colour, shape=shape, tooltip=tooltip
            ),
            *labels.layers(
                rows,
                "model",
                labels.Axis("cost", [row["cost"] for row in rows]),
                labels.Axis("value", [row[f] for row in rows for f in ("low", "high")], turned=not higher),
                300,
                {"x": x, "y": y},
            ),
        ),
        300,
    )


def dev_against_test(
    found: Sequence[Score], name: str, metric: str, higher: bool, runs: Mapping[str, str], chosen: set[str]
) -> dict[str, Any] | None:
    """Each run's development score against its test score on the set of the same name; a point a replicate.

    runs: name of a run -> its node; chosen: values of (replicate, run) that `best` took, as "replicate run"."""
    scores: dict[tuple[str, str], dict[str, float]] = {}
    for s in found:
        if s.set == name and s.metric == metric and s.model in runs:
            scores.setdefault((s.model, s.replicate), {})[s.split] = s.value
    rows = [
        {"model": model, "replicate": replicate, "node": runs[model], "dev": both["dev"], "test": both["test"]}
        | {"run": "chosen" if f"{replicate} {model}" in chosen else "not chosen"}
        for (model, replicate), both in sorted(scores.items())
        if {"dev", "test"} <= both.keys()
    ]
    if len(rows) < 3:
        return None
    scale = alt.Scale(zero=False, reverse=not higher, padding=16)
    colour = alt.Color(
        "run:N",
        title=None,
        scale=alt.Scale(domain=["chosen", "not chosen"], range=[COLOURS["average"], COLOURS["train"]]),
    )
    chart = chart_of(rows).mark_point(filled=True, size=75, opacity=0.85)
    return finish(
        chart.encode(
            x=alt.X("dev:Q", title=f"{name}, development", scale=scale),
            y=alt.Y("test:Q", title=f"{name}, test", scale=scale),
            color=colour,
            tooltip=["model:N", "replicate:N", alt.Tooltip("dev:Q", format=".2f"), alt.Tooltip("test:Q", format=".2f")],
        ),
        300,
    )


def basin(found: Landscape) -> dict[str, Any]:
    """The loss from the best run (left) to each other one (right), less the best run's: a thin line a run and replicate,
    by whether a barrier lies on it, and their mean."""
    kinds = ["no barrier", "barrier", "mean of all lines"]
    rows: list[dict[str, Any]] = [
        {"run": line.other, "replicate": line.replicate, "from": line.best, "share": share}
        | {"loss": loss, "above": loss - line.losses[0][1], "kind": kinds[line.barrier > BARRIER]}
        for line in found.lines
        for share, loss in line.losses
    ]
    shares = list(dict.fromkeys(row["share"] for row in rows))
    middle = [
        {"share": share, "kind": kinds[2], "above": sum(above) / len(above)}
        for share in shares
        for above in [[row["above"] for row in rows if row["share"] == share]]
    ]
    present = [kind for kind in kinds if any(row["kind"] == kind for row in (*rows, *middle))]
    colours = dict(zip(kinds, [COLOURS["train"], "#d4504a", COLOURS["average"]], strict=True))
    colour = alt.Color("kind:N", title=None, scale=alt.Scale(domain=present, range=[colours[kind] for kind in present]))
    x = alt.X(
        "share:Q",
        title="share of the other run (0: the best run, 1: the other)",
        scale=alt.Scale(domain=[0, 1], nice=False),
        axis=alt.Axis(values=shares, format=".2~f"),
    )
    y = alt.Y("above:Q", title="loss above the best run's (nats per token)", scale=alt.Scale(zero=False, padding=10))
    several = len(found.sets) > 1
    tooltip = [
        *(alt.Tooltip(f"{field}:N") for field in ("from", "run", *["replicate"] * several)),
        alt.Tooltip("share:Q"),
        alt.Tooltip("loss:Q", format=".3f"),
        alt.Tooltip("above:Q", title="above the best run's", format="+.3f"),
    ]
    lines = chart_of(rows).encode(x=x, y=y, color=colour, detail=["run:N", "replicate:N"])
    return finish(
        alt.layer(
            _level(),
            lines.mark_line(strokeWidth=1.2, opacity=0.5),
            lines.mark_point(filled=True, size=22, opacity=0.6).encode(tooltip=tooltip),
            chart_of(middle)
            .mark_line(strokeWidth=3.5, point={"size": 60, "filled": True})
            .encode(x=x, y=y, color=colour),
        ),
        300,
    )


def more_ingredients(found: Landscape) -> dict[str, Any]:
    """The loss of the mean of the first k runs less the best run's: in random order, mean and one standard deviation each
    way over orders and replicates; best first, mean over replicates."""
    kinds = ["in random order", "best first"]
    rows = [
        {"k": step["k"], "order": kind, "above": above}
        | ({"low": above - sd, "high": above + sd} if sd is not None else {})
        for step in found.steps
        for kind, above, sd in ((kinds[0], step["mean"], step["sd"]), (kinds[1], step["ranked"], None))
    ]
    colour = alt.Color(
        "order:N", title=None, scale=alt.Scale(domain=kinds, range=[COLOURS["train"], COLOURS["average"]])
    )
    x = alt.X(
        "k:Q",
        title="runs in the mean",
        scale=alt.Scale(domain=[1, found.count], nice=False, padding=8),
        axis=alt.Axis(format="d", values=list(range(1, found.count + 1))),
    )
    scale, title = alt.Scale(zero=False, padding=10), "loss above the best run's (nats per token)"
    base = chart_of(rows)
    lines = base.encode(x=x, y=alt.Y("above:Q", title=title, scale=scale), color=colour)
    tooltip = [alt.Tooltip("order:N"), alt.Tooltip("k:Q", title="runs"), alt.Tooltip("above:Q", format="+.3f")]
    return finish(
        alt.layer(
            _level(),
            base.transform_filter("isValid(datum.low)")
            .mark_area(opacity=0.18)
            .encode(x=x, y=alt.Y("low:Q", title=title, scale=scale), y2="high:Q", color=colour),
            lines.mark_line(strokeWidth=2),
            lines.mark_point(filled=True, size=45, opacity=1).encode(tooltip=tooltip),
        ),
        300,
    )


def averages_by(found: Series, name: str, metric: str, higher: bool) -> dict[str, Any]:
    """The averages of a series and the means of their runs on one test set, over the values of the key."""
    kinds = ["average", "mean of its runs"]
    rows: list[dict[str, Any]] = [
        {"value": point["value"], "of": kind, "score": point[field]}
        for point in found.points
        if point["set"] == name
        for kind, field in zip(kinds, ("average", "runs"), strict=True)
    ]
    colour = alt.Color("of:N", title=None, scale=alt.Scale(domain=kinds, range=[COLOURS["average"], COLOURS["train"]]))
    values = sorted({row["value"] for row in rows})
    wide = values[0] > 0 and values[-1] >= 8 * values[0]
    encoded = chart_of(rows).encode(
        x=alt.X(
            "value:Q",
            title=found.key,
            scale=alt.Scale(type="log" if wide else "linear", nice=False, padding=16),
            axis=alt.Axis(values=values),
        ),
        y=alt.Y(
            "score:Q",
            title=f"{name}: {better(metric, higher)}",
            scale=alt.Scale(zero=False, reverse=not higher, padding=10),
        ),
        color=colour,
        tooltip=["of:N", alt.Tooltip("value:Q", title=found.key), alt.Tooltip("score:Q", format=".2f")],
    )
    return finish(alt.layer(encoded.mark_line(), encoded.mark_point(filled=True, size=60, opacity=1)), 300)


def _level() -> Any:
    """The best run's own loss, a dashed line at 0."""
    return chart_of([{"above": 0}]).mark_rule(strokeDash=[4, 3], opacity=0.6).encode(y="above:Q")


def finish(chart: Any, height: int) -> dict[str, Any]:
    """The spec of a chart as wide as its place and so high, in pixels."""
    # counters in names of views would differ with what was drawn before
    spec = chart.properties(width="container", height=height).to_dict()
    spec.pop("$schema", None)
    spec.pop("config", None)
    return spec


def library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that asks no other machine for anything."""
    import vl_convert

    version = alt.VEGALITE_VERSION.removeprefix("v").rsplit(".", 1)[0]
    script = vl_convert.javascript_bundle(vl_version=version)  # ty: ignore[missing-argument]  # its default isn't in the stub
    # a closing tag inside a string of the script would end it
    return script.replace("</script", "<\\/script")
