"""All files of a report, in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from consomme.common.files import write_text
from consomme.common.stage import say
from consomme.report.evidence.claims import compare, declared, exploratory
from consomme.report.links import write_links, write_runs
from consomme.report.outcomes import Outcomes
from consomme.report.page import write_page
from consomme.report.tables import (
    COMPARISON_COLUMNS,
    OTHER,
    SCORE_COLUMNS,
    read_costs,
    scores,
    summary,
    write_table,
)


def write_report(spec: Mapping[str, Any], out: Path, cache: Path, threads: int = 1) -> None:
    """Write current/, runs.tsv, scores.tsv, comparisons.tsv, summary.md and report.html into `out`, each whole."""
    out = Path(out)
    write_links(spec["models"], out, spec["replicates"])
    write_runs(spec["models"], out)
    outcomes = Outcomes(spec, Path(cache), threads=threads)
    questions = [*declared(outcomes), *exploratory(outcomes)]
    found = scores(outcomes)
    write_table(out / "scores.tsv", SCORE_COLUMNS, found)
    say(f"scores: {len(found)} rows")
    # other decodings stand beside the test sets under a word of their own
    main = {s.decoding for s in outcomes.sheets.values()}
    found = [s if s.decoding in main else replace(s, split=OTHER) for s in found]
    comparisons = compare(outcomes, questions)
    write_table(out / "comparisons.tsv", COMPARISON_COLUMNS, comparisons)
    say(f"comparisons: {sum(c.declared for c in comparisons)} declared, {len(comparisons)} in all")
    costs = read_costs(spec.get("costs"))
    text = summary(outcomes, comparisons, found, costs)
    write_text(out / "summary.md", text)
    write_page(out / "report.html", outcomes, found, comparisons, costs)
    for line in text.splitlines():
        say(line)
