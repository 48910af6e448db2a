"""All files of a report, in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from consomme.common.files import write_text
from consomme.common.log import say
from consomme.report.cards import write_cards
from consomme.report.evidence.claims import Comparison
from consomme.report.evidence.scores import scores
from consomme.report.findings.effects import effect_of
from consomme.report.findings.groups import groups
from consomme.report.findings.means import by_decoding
from consomme.report.findings.seen import of_claim, seen
from consomme.report.links import runs, write_links
from consomme.report.outcomes import Outcomes
from consomme.report.page.context import context
from consomme.report.page.render import write_page
from consomme.report.provenance import records
from consomme.report.registered import Registered, compared
from consomme.report.tables import write_tables
from consomme.report.trials import with_values
from consomme.report.words.claims import word
from consomme.report.words.summary import summary
from consomme.results.columns import COMPARISONS, COSTS
from consomme.results.frames import frame, read, write

REPORTED = "plan/reported.json"  # the spec of the report that lies there
FILES = (
    "report.html",
    "summary.md",
    *("runs.tsv", "scores.tsv", "groups.tsv", "comparisons.tsv"),
    "tables/*.*",
    "cards/*.md",
)


def write_report(spec: Mapping[str, Any], out: Path, cache: Path, threads: int = 1) -> None:
    """Write current/, runs.tsv, scores.tsv, groups.tsv, comparisons.tsv, summary.md, tables/, cards/ and report.html into `out`, each
    whole."""
    out, spec = Path(out), with_values(spec)
    write_links(spec["models"], out, spec["replicates"])
    outcomes, table, comparisons, costs, registered = measured(spec, cache, threads)
    write(out / "runs.tsv", runs(spec["models"], outcomes.stopped))
    withdrawn = [c for _, c in registered.withdrawn if c] if registered else []
    write(out / "scores.tsv", table)
    rows = (
        vars(c) | {"each": c.each, "verdict": word(c) if c.declared else ""} | effect_of(outcomes, c)._asdict()
        for c in (*comparisons, *withdrawn)
    )
    write(out / "comparisons.tsv", frame(COMPARISONS, rows))
    grouped = groups(outcomes)
    write(out / "groups.tsv", grouped)
    table = by_decoding(table)
    text = summary(outcomes, comparisons, table, costs, registered)
    write_text(out / "summary.md", text)
    shown = context(outcomes, table, comparisons, costs, grouped, registered)
    write_tables(out / "tables", shown)
    write_cards(out / "cards", outcomes, records(outcomes), table, comparisons)
    write_page(out / "report.html", shown, Path(cache))
    for line in text.splitlines():
        say(line)


def measured(
    spec: Mapping[str, Any], cache: Path, threads: int = 1
) -> tuple[Outcomes, pd.DataFrame, list[Comparison], pd.DataFrame, Registered | None]:
    """Hypotheses, scores, comparisons (declared and exploratory), costs of the models, and the claims' register."""
    outcomes = Outcomes(spec, Path(cache), threads=threads)
    table = scores(outcomes)
    say(f"scores: {len(table)} rows")
    comparisons, registered = compared(outcomes)
    overlaps = seen(outcomes)
    comparisons = [replace(c, seen=of_claim(outcomes, (c.model, c.against), c.set, overlaps)) for c in comparisons]
    say(f"comparisons: {sum(c.declared for c in comparisons)} declared, {len(comparisons)} in all")
    return outcomes, table, comparisons, read(spec.get("costs") or "", COSTS), registered
