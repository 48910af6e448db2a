"""Rendering of report.html: one file that opens without a network, verdicts first."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from consomme.common.files import write_text
from consomme.report.evidence.claims import Comparison
from consomme.report.outcomes import Outcomes

if TYPE_CHECKING:
    from markupsafe import Markup


def write_page(
    path: Path,
    outcomes: Outcomes,
    scores: pd.DataFrame,
    comparisons: Sequence[Comparison],
    costs: pd.DataFrame,
    groups: pd.DataFrame,
) -> None:
    """Render the page. Equal inputs give equal bytes."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from consomme.report.charts.style import library
    from consomme.report.page.context import context

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["marked"] = marked
    shown = context(outcomes, scores, comparisons, costs, groups)
    charts = json.dumps(shown["charts"], sort_keys=True, ensure_ascii=False).replace("</", "<\\/")
    vega = library() if shown["charts"] else ""
    write_text(path, environment.get_template("page.html").render(shown | {"charts": charts, "library": vega}))


def marked(text: str) -> Markup:
    """Text in backticks as code; everything else is escaped."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
