"""The charts of scores: Vega-Lite specs made with altair. Colours of text and lines come from the page's style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from consomme.report.charts import labels
from consomme.report.charts.style import COLOURS, better, chart_of, finish, verb_word, verbs
from consomme.report.findings.means import BOUNDS, cost_per_model, mean_scores, speed_unit
from consomme.report.findings.series import Series
from consomme.results.frames import plain


def pareto(
    scores: pd.DataFrame,
    split: str,
    sets: Sequence[str],
    metric: str,
    higher: bool,
    runs: set[str],
    path: pd.DataFrame,
) -> dict[str, Any] | None:
    """The first set against the second, one point per model (mean over replicates), with 95 % intervals on both axes.

    Axes are oriented so that up and right are better. path: points between two models (`findings.path`), drawn as a line;
    points chosen in a replicate have a cross."""
    if len(sets) < 2:
        return None
    x_set, y_set = sets[:2]
    means = mean_scores(scores, metric, split)
    x, y = (means[means["set"] == name].set_index(["model", "kind"])[BOUNDS] for name in (x_set, y_set))
    table = x.set_axis(["x", "x_low", "x_high"], axis=1).join(y.set_axis(["y", "y_low", "y_high"], axis=1), how="inner")
    if table.empty:
        return None
    table = table.reset_index()
    table["made"], table["run"] = table.pop("kind").map(verb_word), table["model"].isin(runs)
    table["label"] = table["model"].mask(table["run"], "")
    table = table.sort_values("run", ascending=False, kind="stable")  # later rows are drawn on top
    rows = plain(table)
    scale = alt.Scale(zero=False, reverse=not higher, nice=True, padding=18)
    numbers = alt.Axis(grid=True)
    x = alt.X("x:Q", title=f"{x_set}, {better(metric, higher)}", scale=scale, axis=numbers)
    y = alt.Y("y:Q", title=f"{y_set}, {better(metric, higher)}", scale=scale, axis=numbers)
    colour, shape = verbs(table["made"])
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
            labels.Axis("x", [*table["x"], *table["x_low"], *table["x_high"]], not higher, padding=18),
            labels.Axis("y", [*table["y"], *table["y_low"], *table["y_high"]], not higher, padding=18),
            420,
            {"x": x, "y": y},
        ),
    ]
    if len(path):
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
    scores: pd.DataFrame,
    costs: pd.DataFrame,
    test: str,
    metric: str,
    higher: bool,
    field: str,
    runs: set[str],
) -> dict[str, Any] | None:
    """Quality on one test set against a column of costs.tsv (parameters or speed), named models only."""
    means = mean_scores(scores, metric)
    means = means[(means["set"] == test) & ~means["model"].isin(runs) & ~means["model"].str.endswith("/best")]
    table = means.join(cost_per_model(costs), on="model").dropna(subset=field)
    if table[field].nunique() < 2:
        return None
    table = pd.DataFrame(
        {"model": table["model"], "made": table["kind"].map(verb_word)}
        | {"cost": table[field] / (1e6 if field == "parameters" else 1)}
        | {"value": table["value"], "low": table["ci_low"], "high": table["ci_high"]}
    )
    rows = plain(table)
    unit = "million parameters" if field == "parameters" else speed_unit(costs)
    colour, shape = verbs(table["made"])
    x = alt.X("cost:Q", title=unit, scale=alt.Scale(zero=False, padding=24), axis=alt.Axis(tickCount=6))
    scale = alt.Scale(zero=False, reverse=not higher, padding=12)
    y = alt.Y("value:Q", title=f"{test}, {better(metric, higher)}", scale=scale)
    base = chart_of(rows)
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
                labels.Axis("cost", [*table["cost"]], padding=24),
                labels.Axis("value", [*table["value"], *table["low"], *table["high"]], not higher, padding=12),
                300,
                {"x": x, "y": y},
            ),
        ),
        300,
    )


def dev_against_test(
    scores: pd.DataFrame, name: str, metric: str, higher: bool, runs: Mapping[str, str], chosen: set[str]
) -> dict[str, Any] | None:
    """Each run's development score against its test score on the set of the same name; one point per replicate.

    runs: name of a run -> its node; chosen: the runs chosen as `best`, as "replicate run"."""
    mine = scores[(scores["set"] == name) & (scores["metric"] == metric) & scores["model"].isin(runs)]
    table = mine.pivot(index=["model", "replicate"], columns="split", values="value").reindex(columns=["dev", "test"])
    table = table.dropna().reset_index()
    if len(table) < 3:
        return None
    table["node"] = table["model"].map(runs)
    table["run"] = (table["replicate"] + " " + table["model"]).isin(chosen).map({True: "chosen", False: "not chosen"})
    scale = alt.Scale(zero=False, reverse=not higher, padding=16)
    colour = alt.Color(
        "run:N",
        title=None,
        scale=alt.Scale(domain=["chosen", "not chosen"], range=[COLOURS["average"], COLOURS["train"]]),
    )
    chart = chart_of(table).mark_point(filled=True, size=75, opacity=0.85)
    return finish(
        chart.encode(
            x=alt.X("dev:Q", title=f"{name}, development", scale=scale),
            y=alt.Y("test:Q", title=f"{name}, test", scale=scale),
            color=colour,
            tooltip=["model:N", "replicate:N", alt.Tooltip("dev:Q", format=".2f"), alt.Tooltip("test:Q", format=".2f")],
        ),
        300,
    )


def averages_by(found: Series, name: str, metric: str, higher: bool) -> dict[str, Any]:
    """The averages of a series and the means of their runs on one test set, over the values of the key."""
    kinds = ["average", "mean of its runs"]
    points = found.points[found.points["set"] == name].rename(columns={"average": kinds[0], "runs": kinds[1]})
    table = points.melt("value", kinds, var_name="of", value_name="score").sort_values("value", kind="stable")
    colour = alt.Color("of:N", title=None, scale=alt.Scale(domain=kinds, range=[COLOURS["average"], COLOURS["train"]]))
    values = sorted(set(table["value"]))
    wide = values[0] > 0 and values[-1] >= 8 * values[0]
    encoded = chart_of(table).encode(
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
