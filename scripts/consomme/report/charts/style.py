"""Shared by all charts: colours, legends, titles, finished specs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from consomme.common.files import read_text, write_text
from consomme.report.charts.dag import COLOURS
from consomme.report.numbers import metric_title
from consomme.results.frames import plain

SHAPES = {"from": "diamond", "train": "circle", "average": "square", "prune": "triangle-down", "export": "triangle-up"}
WORDS = {"from": "start", "train": "trained", "average": "averaged", "prune": "pruned", "export": "exported"}


def verb_word(kind: str) -> str:
    """A verb's name in the legend."""
    return WORDS["from" if kind == "start" else kind]


def verbs(made: Iterable[str]) -> tuple[alt.Color, alt.Shape]:
    """Colour and shape by the verbs' words in the column `made`."""
    present = set(made)
    order = [v for v in COLOURS if WORDS[v] in present]
    names = [WORDS[v] for v in order]
    colour = alt.Color("made:N", title=None, scale=alt.Scale(domain=names, range=[COLOURS[v] for v in order]))
    shape = alt.Shape("made:N", title=None, scale=alt.Scale(domain=names, range=[SHAPES[v] for v in order]))
    return colour, shape


def chart_of(rows: pd.DataFrame | Iterable[Mapping[str, Any]]) -> Any:
    """A chart of the rows. The type is Any, because altair's decorator hides the marks' types from type checkers."""
    return alt.Chart(alt.Data(values=plain(rows) if isinstance(rows, pd.DataFrame) else list(rows)))


def better(metric: str, higher: bool) -> str:
    """A metric's name and direction."""
    return f"{metric_title(metric)} ({'higher' if higher else 'lower'} is better)"


def finish(chart: Any, height: int) -> dict[str, Any]:
    """The spec of a chart as wide as its container. height: in pixels."""
    # names of views hold counters that depend on the charts drawn before
    spec = chart.properties(width="container", height=height).to_dict()
    spec.pop("$schema", None)
    spec.pop("config", None)
    return spec


def library(cache: Path) -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that works offline. Joining them takes seconds, so it is kept in
    `cache`."""
    from importlib.metadata import version

    vega = alt.VEGALITE_VERSION.removeprefix("v").rsplit(".", 1)[0]
    kept = cache / "charts" / f"vega-lite-{vega}-{version('vl-convert-python')}.js"
    if not kept.is_file():
        import vl_convert

        script = vl_convert.javascript_bundle(vl_version=vega)  # ty: ignore[missing-argument]  # its default isn't in the stub
        # a closing tag inside a string of the script would end it
        write_text(kept, script.replace("</script", "<\\/script"))
    return read_text(kept)
