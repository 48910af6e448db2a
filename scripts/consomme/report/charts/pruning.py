"""The charts of pruning: Vega-Lite specs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from consomme.report.charts import labels
from consomme.report.charts.style import COLOURS, better, chart_of, finish
from consomme.report.findings.pruning import PRUNED, RECOVERED, WHOLE

# readable on white and on near-black, and distinct with red-green colour blindness
WAYS = ("#4589d6", "#e0762b", "#2f9e6b", "#9a6ad0", "#c2981f", "#d4504a", "#3fa7ad", "#a1715a")
SHAPES = {WHOLE: "diamond", PRUNED: "triangle-up", RECOVERED: "circle"}
STATES = {"chosen": COLOURS["average"], "within": COLOURS["prune"], "outside": COLOURS["from"]}
CELL = 22  # pixels
# fractions of the axis: difference of costs that count as equal, distance between them, largest width of one group
NEAR, STEP, WIDEST = 0.005, 0.014, 0.07


def front(
    rows: Sequence[dict[str, Any]], test: str, metric: str, higher: bool, field: str, unit: str
) -> dict[str, Any] | None:
    """Quality against size or speed: one point per model, with its intervals; a line from each pruned model to those
    recovered from it; the Pareto front, dashed."""
    if len(rows) < 2 or len({row["cost"] for row in rows}) < 2:
        return None
    rows = side_by_side(rows)
    title = "million parameters" if field == "parameters" else f"{unit} (more is faster)"
    x_scale, scale = alt.Scale(zero=False, padding=28), alt.Scale(zero=False, reverse=not higher, padding=14)
    x = alt.X("at:Q", title=title, scale=x_scale, axis=alt.Axis(tickCount=6))
    y = alt.Y("value:Q", title=f"{test}, {better(metric, higher)}", scale=scale)
    ways = list(dict.fromkeys(row["how"] for row in rows if row["how"] != WHOLE))
    present = [way for way in (WHOLE,) if any(row["how"] == way for row in rows)]
    colours = [*(COLOURS["from"] for _ in present), *map(way_colour, range(len(ways)))]
    words, grey = alt.Legend(values=ways, labelLimit=260), COLOURS["from"]
    colour = alt.Color("how:N", title=None, scale=alt.Scale(domain=[*present, *ways], range=colours), legend=words)
    states = [s for s in SHAPES if any(row["state"] == s for row in rows)]
    shape = alt.Shape(
        "state:N",
        title=None,
        scale=alt.Scale(domain=states, range=[SHAPES[s] for s in states]),
        legend=alt.Legend(symbolFillColor=grey, symbolStrokeColor=grey),
    )
    before = {row["model"]: row for row in rows if row["state"] == PRUNED}
    healed = [row for row in rows if row["state"] == RECOVERED and row["of"] in before]
    lines = [
        {"how": row["how"], "at": a["at"], "value": a["value"], "to_at": row["at"], "to": row["value"]}
        for row in healed
        for a in (before[row["of"]],)
    ]
    best = sorted((row for row in rows if row["front"]), key=lambda row: row["at"])
    base = chart_of(rows)
    tooltip = [
        *(alt.Tooltip(f"{name}:N") for name in ("model", "state", "how")),
        alt.Tooltip("cost:Q", title=title, format=".3f"),
        *(alt.Tooltip(f"{name}:Q", format=".2f") for name in ("value", "low", "high")),
    ]
    layers = [
        chart_of(best)
        .mark_line(
            strokeDash=[5, 4],
            color=grey,
            strokeWidth=1.6,
            interpolate="step-after" if field == "parameters" else "step-before",
        )
        .encode(x=x, y=y, order="at:Q"),
        base.mark_rule(strokeWidth=1.2, opacity=0.6).encode(
            x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q", color=colour
        ),
        base.mark_rule(strokeWidth=1.2, opacity=0.3).encode(
            x=alt.X("cost_low:Q", scale=x_scale), x2="cost_high:Q", y=y, color=colour
        ),
        chart_of(lines).mark_rule(strokeWidth=2.2, opacity=0.8).encode(x=x, y=y, x2="to_at:Q", y2="to:Q", color=colour),
        base.mark_point(filled=True, size=95, opacity=1).encode(x=x, y=y, color=colour, shape=shape, tooltip=tooltip),
        *labels.layers(
            [row if row["front"] else {**row, "label": ""} for row in rows],
            "label",
            labels.Axis("at", [row[f] for row in rows for f in ("at", "cost_low", "cost_high")], padding=28),
            labels.Axis("value", [row[f] for row in rows for f in ("value", "low", "high")], not higher, padding=14),
            360,
            {"x": x, "y": y},
        ),
    ]
    return finish(alt.layer(*(layer for layer in layers if layer is not layers[3] or lines)), 360)


def way_colour(number: int) -> str:
    """The colour of a method of choosing, by its number from 0: WAYS, then all of them darker, then lighter."""
    turn, at = divmod(number, len(WAYS))
    towards, share = ((0, 0.0), (0, 0.38), (255, 0.5))[turn % 3]
    parts = (int(WAYS[at][i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part + share * (towards - part)):02x}" for part in parts)


def side_by_side(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with `at`, their position: models of one size are drawn side by side, ordered by method of choosing."""
    costs = [row["cost"] for row in rows]
    span = max(costs) - min(costs)
    ways = list(dict.fromkeys(row["how"] for row in rows))
    found = []
    for row in rows:
        there = [w for w in ways if any(o["how"] == w and abs(o["cost"] - row["cost"]) < NEAR * span for o in rows)]
        place = there.index(row["how"]) - (len(there) - 1) / 2
        step = min(STEP, WIDEST / max(len(there) - 1, 1))
        found.append({**row, "at": row["cost"] + place * step * span})
    return found


def budget(rows: Sequence[dict[str, Any]], chosen_as: str, place: str, metric: str, higher: bool) -> dict[str, Any]:
    """Parameters, or speed, against development score of the candidates for the smallest, or fastest, model."""
    scale = alt.Scale(zero=False, reverse=not higher, padding=14)
    title = "million parameters" if chosen_as == "smallest" else "speed (more is faster)"
    x = alt.X("cost:Q", title=title, scale=alt.Scale(zero=False, padding=28))
    y = alt.Y("value:Q", title=f"{place}, development, {better(metric, higher)}", scale=scale)
    present = [s for s in STATES if any(row["state"] == s for row in rows)]
    words = alt.Scale(domain=present, range=[STATES[s] for s in present])
    colour = alt.Color("state:N", title=None, scale=words)
    base = chart_of(rows).encode(x=x, color=colour)
    tooltip = [
        *(alt.Tooltip(f"{name}:N") for name in ("model", "state")),
        alt.Tooltip("cost:Q", title=title, format=".3f"),
        alt.Tooltip("value:Q", format=".3f"),
    ]
    whiskers = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=1.2, opacity=0.6)
    return finish(
        alt.layer(
            whiskers.encode(y=alt.Y("low:Q", scale=scale), y2="high:Q"),
            base.mark_point(filled=True, size=95, opacity=1).encode(y=y, tooltip=tooltip),
            base.transform_filter("datum.state == 'chosen'")
            .mark_text(align="left", dx=9, dy=-9, fontSize=12)
            .encode(y=y, text="label:N"),
        ),
        300,
    )


def layers(rows: Sequence[dict[str, Any]], side: str) -> dict[str, Any]:
    """A heat map, one line per model and one column per layer. Opacity: importance of the layer; ×: removed."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    return _heat(rows, ("layer", f"{side} layer"), "model", models)


def heads(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A heat map, one line per attention module and one column per head."""
    return _heat(rows, ("head", "head"), "place", list(dict.fromkeys(row["place"] for row in rows)))


def _heat(rows: Sequence[dict[str, Any]], across: tuple[str, str], down: str, order: Sequence[str]) -> dict[str, Any]:
    # opacity shows the strength, so that one colour works on white and on near-black
    field, title = across
    x = alt.X(f"{field}:O", title=title, axis=alt.Axis(labelAngle=0, grid=False))
    y = alt.Y(f"{down}:N", title=None, sort=list(order), axis=alt.Axis(grid=False, labelLimit=260))
    base = chart_of(rows).encode(x=x, y=y)
    strength = alt.Opacity("worth:Q", legend=None, scale=alt.Scale(domain=[0, 1], range=[0.06, 1]))
    tooltip = [alt.Tooltip(f"{down}:N"), alt.Tooltip(f"{field}:O"), alt.Tooltip("words:N", title=" ")]
    return finish(
        alt.layer(
            base.mark_rect(color=COLOURS["train"]).encode(opacity=strength, tooltip=tooltip),
            base.transform_filter("!datum.kept").mark_text(fontSize=14).encode(text=alt.value("×")),
        ),
        CELL * len(order),
    )
