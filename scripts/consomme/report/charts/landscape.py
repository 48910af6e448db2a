"""The charts of loss landscapes: Vega-Lite specs."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from consomme.report.charts.style import COLOURS, chart_of, finish
from consomme.report.findings.landscape import BARRIER, Landscape


def basin(found: Landscape) -> dict[str, Any]:
    """The loss from the best run (left) to each other one (right), minus the best run's: one thin line per run and
    replicate, coloured by whether it has a barrier, and the mean of the lines."""
    kinds = ["no barrier", "barrier", "mean of all lines"]
    rows = pd.DataFrame(
        {"run": line.other, "replicate": line.replicate, "from": line.best, "share": share}
        | {"loss": loss, "above": loss - line.losses[0][1], "kind": kinds[line.barrier > BARRIER]}
        for line in found.lines
        for share, loss in line.losses
    )
    middle = rows.groupby("share", sort=False)["above"].mean().reset_index().assign(kind=kinds[2])
    shares = middle["share"].tolist()
    present = [kind for kind in kinds if kind in {*rows["kind"], kinds[2]}]
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
    """The loss of the mean of the first k runs, minus the best run's. Random order: mean ± one standard deviation over
    orders and replicates. Best first: mean over replicates."""
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


def _level() -> Any:
    """The best run's own loss, a dashed line at 0."""
    return chart_of([{"above": 0}]).mark_rule(strokeDash=[4, 3], opacity=0.6).encode(y="above:Q")
