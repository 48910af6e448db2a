"""All files of a report, in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from consomme.common.files import write_text
from consomme.common.log import say
from consomme.report.evidence.claims import Comparison, compare, declared, exploratory
from consomme.report.links import write_links, write_runs
from consomme.report.outcomes import Outcomes
from consomme.report.page import write_page
from consomme.report.tables import (
    COMPARISON_COLUMNS,
    OTHER,
    SCORE_COLUMNS,
    Score,
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
    outcomes, found, comparisons, costs = measured(spec, cache, threads)
    write_table(out / "scores.tsv", SCORE_COLUMNS, found)
    write_table(out / "comparisons.tsv", COMPARISON_COLUMNS, comparisons)
    found = by_decoding(outcomes, found)
    text = summary(outcomes, comparisons, found, costs)
    write_text(out / "summary.md", text)
    write_page(out / "report.html", outcomes, found, comparisons, costs)
    for line in text.splitlines():
        say(line)


def measured(
    spec: Mapping[str, Any], cache: Path, threads: int = 1
) -> tuple[Outcomes, list[Score], list[Comparison], list[dict[str, str]]]:
    """What the models said, their scores, the comparisons (declared and exploratory), and what they cost."""
    outcomes = Outcomes(spec, Path(cache), threads=threads)
    questions = [*declared(outcomes), *exploratory(outcomes)]
    found = scores(outcomes)
    say(f"scores: {len(found)} rows")
    comparisons = compare(outcomes, questions)
    say(f"comparisons: {sum(c.declared for c in comparisons)} declared, {len(comparisons)} in all")
    return outcomes, found, comparisons, read_costs(spec.get("costs"))


def by_decoding(outcomes: Outcomes, found: Sequence[Score]) -> list[Score]:
    """The scores for a page: other decodings than the experiment's stand beside the test sets under a word of their own."""
    main = {s.decoding for s in outcomes.sheets.values()}
    return [s if s.decoding in main else replace(s, split=OTHER) for s in found]
