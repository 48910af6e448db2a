"""`python -m consomme.report.publish CONFIG --out FILE.md`: the tables of a finished run as a page of Markdown.

The page says by which command, from which commit, on which machine and in how many minutes the numbers came about."""

from __future__ import annotations

import argparse
import csv
import os
import platform
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from consomme.common.errors import ConsommeError
from consomme.common.files import write_text
from consomme.plan.load import read
from consomme.plan.plan import Plan, Study
from consomme.report.landscape import basin_words, landscapes, rows_words, steps_words

Row = dict[str, str]


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m consomme.report.publish", description=__doc__.split("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(argv)
    try:
        write_text(given.out, page(given.config))
    except ConsommeError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def page(config: Path) -> str:
    """The page's text; an experiment that is not finished is named as such."""
    studies = Plan(read([config])).studies
    parts = [f"# Measured: `{config}`", provenance(config, list(studies.values()))]
    for study in studies.values():
        if not (Path(study.folder) / "report.html").exists():
            parts += [f"## {study.name}", "Not run to the end."]
            continue
        parts += [f"## {study.name}", models(study), "### Claims", claims(study)]
        if words := between(study):
            parts += ["### Between the runs", words]
    return "\n\n".join(parts) + "\n"


def provenance(config: Path, studies: Sequence[Study]) -> str:
    """Command, commit, machine, minutes."""
    seconds = sum(
        float(row["s"])
        for study in studies
        for file in Path(study.folder, "benchmarks").rglob("*.tsv")
        for row in _table(file)
        if row.get("s")
    )
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    replicates = ", ".join(f"{s.name} {len(s.graphs)}" for s in studies)
    return "\n".join(
        [
            f"- command: `snakemake --profile profiles/local --configfile {config}`",
            f"- commit: {commit.stdout.strip() or 'unknown'}",
            f"- machine: {_processor()}, {os.cpu_count()} cores, no GPU; Python {platform.python_version()}",
            f"- jobs' time, added up: {seconds / 60:.0f} minutes",
            f"- replicates: {replicates}",
        ]
    )


def models(study: Study) -> str:
    """Means over replicates on every test set, the range over replicates in brackets; runs of a sweep folded."""
    main = study.first.decoding_digest
    rows = _table(Path(study.folder) / "scores.tsv")
    scores = [r for r in rows if r["split"] == "test" and r["decoding"] == main]
    costs = {r["model"]: r for r in _table(Path(study.folder) / "costs.tsv")}
    sets = list(study.first.test)
    metrics = study.first.metrics
    by: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in scores:
        by[row["model"], row["set"], row["metric"]].append(float(row["value"]))
    lines = []
    for names, shown in _folded(study):
        cells = []
        for metric in metrics:
            for name in sets:
                values = [v for n in names for v in by[n, name, metric]]
                if not values:
                    cells.append("")
                elif len(values) == 1:
                    cells.append(f"{values[0]:.1f}")
                else:
                    cells.append(f"{statistics.fmean(values):.1f} ({min(values):.1f}–{max(values):.1f})")
        cost = costs.get(names[0], {})
        parameters = f"{int(float(cost['parameters'])) / 1e6:.2f}" if cost.get("parameters") else ""
        speed = f"{float(cost['speed']):.0f}" if cost.get("speed") else ""
        if any(cells):
            lines.append([shown, *cells, parameters, speed])
    unit = next((c["speed_unit"] for c in costs.values() if c.get("speed_unit")), "")
    head = ["model", *(f"{m} {s}" for m in metrics for s in sets), "M parameters", f"speed, {unit}"]
    note = "Means over replicates and runs on the test sets, smallest and largest in brackets; rates times 100."
    return note + "\n\n" + _markdown(head, lines)


def claims(study: Study) -> str:
    """The declared claims."""
    rows = [r for r in _table(Path(study.folder) / "comparisons.tsv") if r["claim"] != "exploratory"]
    lines = []
    for r in rows:
        words = f"{r['model']} {r['hypothesis']} {r['against']} on {r['set']}"
        if r["hypothesis"] == "keeps":
            words += f" within {float(r['margin']):g}"
        cells = [f"{float(r[k]):+.2f}" for k in ("difference", "ci_low", "ci_high")]
        p = [f"{float(r[k]):.4f}" for k in ("p", "p_holm")]
        lines.append([words, r["metric"], cells[0], f"{cells[1]} to {cells[2]}", *p, answer(r)])
    head = ["claim", "metric", "difference", "95 % interval", "p", "p, Holm", "answer"]
    return "Positive differences are better, whichever way the metric runs.\n\n" + _markdown(head, lines)


def between(study: Study) -> str:
    """Whether the runs that averages are made of share a basin, and what one more brings; empty where nothing was measured."""
    made = [entry for entry in study.report["landscapes"] if Path(entry["path"]).exists()]
    return "\n".join(
        f"- {s.title}, on {rows_words(s)}. {basin_words(s)} {steps_words(s)}" for s in landscapes({"landscapes": made})
    )


def answer(row: Row) -> str:
    """Shown, refuted or not shown, by the rules of `evidence.claims`, from a row of comparisons.tsv."""
    difference, margin, significant = float(row["difference"]), float(row["margin"] or 0), float(row["p_holm"]) < 0.05
    beats = row["hypothesis"] == "beats"
    if significant and difference > (0 if beats else -margin):
        return "shown"
    refuted = significant and difference < 0 if beats else float(row["ci_high"]) < -margin
    return "refuted" if refuted else "not shown"


def _folded(study: Study) -> list[tuple[list[str], str]]:
    """Names of models that share a line, and the line's name: the runs of a trained sweep are one line."""
    folded: dict[str, list[str]] = {}
    for model in study.first.models:
        run = bool(model.run) and model.stage == "train"
        folded.setdefault(model.node if run else model.name, []).append(model.name)
    return [(names, f"{line} (each of {len(names)})" if len(names) > 1 else line) for line, names in folded.items()]


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _table(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
