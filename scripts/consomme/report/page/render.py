"""Rendering of report.html: one file that opens without a network, verdicts first.

A policy in its head lets nothing in from elsewhere and runs no script but those that the page was made with. Text of
models and users is escaped by the template, or stands in blocks of JSON, which the scripts write out as text."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.files import write_text

if TYPE_CHECKING:
    from markupsafe import Markup

SCRIPTS = ("sections.js", "tables.js", "curves.js", "sentences.js", "charts.js")
DATA = ("curves", "sentences", "charts")  # values of the context that the scripts read


def write_page(path: Path, shown: Mapping[str, Any]) -> None:
    """Render the page of `context()`. Equal inputs give equal bytes."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from consomme.report.charts.style import library

    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["marked"] = marked
    scripts = [library()] if shown["charts"] else []
    scripts.append("\n".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS))
    more = {
        "policy": policy(scripts),
        "scripts": [Markup(script) for script in scripts],
        "data": {name: Markup(in_script(shown[name])) for name in DATA},
    }
    write_text(path, environment.get_template("page.html").render({**shown, **more}))


def policy(scripts: list[str]) -> str:
    """The content security policy of a page with these inline scripts, and nothing else that runs or loads."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    ours = " ".join(f"'sha256-{found}'" for found in hashes)
    return (
        f"default-src 'none'; script-src {ours}; "
        "style-src 'unsafe-inline'; img-src data:; media-src data:; base-uri 'none'; form-action 'none'"
    )


def in_script(value: Any) -> str:
    """JSON for a script element, which no text in it can end. Numbers that JSON doesn't have are null."""
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return in_script(_finite(value))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def marked(text: str) -> Markup:
    """Text in backticks as code; everything else is escaped."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
