"""scores.tsv, comparisons.tsv and summary.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from consomme.common.files import write_text
from consomme.report.evidence.bootstrap import interval, resampled_values
from consomme.report.evidence.claims import FEW, LEVEL, Comparison, averages, is_run, named, root
from consomme.report.outcomes import Outcomes

SCORE_COLUMNS = [
    "model",
    "kind",
    "replicate",
    "split",
    "set",
    "decoding",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "n",
    "path",
]
COMPARISON_COLUMNS = [
    "claim",
    "model",
    "against",
    "replicates",
    "split",
    "set",
    "decoding",
    "metric",
    "hypothesis",
    "margin",
    "difference",
    "ci_low",
    "ci_high",
    "p",
    "p_holm",
    "method",
]
OTHER = "full window"  # in tables: the test sets as code that knows nothing of short windows decodes them
SCORE_RESAMPLES = 1000
# columns of costs.tsv, over replicates
COMBINED = dict.fromkeys(("parameters", "bytes", "flops", "speed", "memory"), fmean) | {
    "speed_low": min,
    "speed_high": max,
}
SUMMARY_LINES = 24
SHOWN = 4  # names in one line
_TOGETHER = 32  # models resampled in one product


@dataclass(frozen=True)
class Score:
    """A row of scores.tsv: one model of one replicate on one set."""

    model: str
    kind: str
    replicate: str
    split: str
    set: str
    decoding: str
    metric: str
    value: float
    ci_low: float
    ci_high: float
    n: int
    path: str


def scores(outcomes: Outcomes) -> list[Score]:
    """All models on all sets in all metrics and decodings, with 95 % bootstrap intervals; sorted."""
    outcomes.count_all(outcomes.metrics)
    by_rows: dict[str, list] = defaultdict(list)
    for sheet in (*outcomes.sheets.values(), *outcomes.others):
        by_rows[sheet.rows].append(sheet)
    found = []
    for metric in outcomes.metrics:
        value = outcomes.metric(metric).value
        for sheets in by_rows.values():
            # equal answers (the best run and the run itself) are counted once
            distinct = list({s.content: s for s in sheets}.values())
            results: dict[str, tuple[float, float, float]] = {}
            for start in range(0, len(distinct), _TOGETHER):
                part = distinct[start : start + _TOGETHER]
                sums = np.stack([outcomes.sums(s, metric) for s in part])
                low, high = interval(resampled_values(sums, value, SCORE_RESAMPLES))
                observed = value(sums.sum(1))
                for sheet, *numbers in zip(part, observed, low, high, strict=True):
                    results[sheet.content] = tuple(float(x) for x in numbers)
            found += [
                Score(
                    *(s.model, s.kind, s.replicate, s.split, s.set, s.decoding, metric),
                    *results[s.content],
                    *(s.n, s.path.as_posix()),
                )
                for s in sheets
            ]
    return sorted(found, key=lambda s: (s.model, s.replicate, s.split, s.set, s.decoding, s.metric))


def number(value: float | None) -> str:
    """Four decimals; empty for what doesn't apply; no negative zero."""
    if value is None or value != value:
        return ""
    text = f"{value:.4f}"
    return text.removeprefix("-") if not text.strip("-0.") else text


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Any]) -> None:
    """Write rows (objects with the columns as attributes) as tab-separated text."""

    def cell(value: Any) -> str:
        text = number(value) if isinstance(value, float) or value is None else str(value)
        return text.replace("\t", " ").replace("\n", " ")

    lines = ["\t".join(columns), *("\t".join(cell(getattr(row, c)) for c in columns) for row in rows)]
    write_text(path, "\n".join(lines) + "\n")


# -- the claims in words ---------------------------------------------------------------------------------------------


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign, the minus being a minus."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if text.strip("+-0.") else text.replace("-", "+")


def p_text(p: float) -> str:
    """p as words say it."""
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}" if p < 0.1 else f"p {p:.2f}"


VERDICTS = {"holds": "shown", "open": "not shown", "fails": "refuted"}


def claim_title(c: Comparison) -> str:
    """What was claimed."""
    margin = f" within {c.margin:g}" if c.hypothesis == "keeps" else ""
    return f"{c.model} {c.hypothesis} {c.against} on {c.set}{margin}"


def metric_title(metric: str) -> str:
    """A metric's name as people write it."""
    return {"bleu": "BLEU", "chrf": "chrF", "wer": "WER", "cer": "CER"}.get(metric, metric)


def reading(c: Comparison) -> str:
    """One half sentence that says what the verdict means."""
    if c.hypothesis == "beats":
        if c.verdict == "holds":
            return f"{c.model} is better"
        if c.verdict == "fails":
            return f"{c.model} is worse"
        return f"{c.model} did no better" if c.difference <= 0 else "the difference could be chance"
    if c.verdict == "holds":
        return f"at most {c.margin:g} was lost"
    if c.verdict == "fails":
        return f"more than {c.margin:g} was lost"
    return f"a loss of more than {c.margin:g} can't be ruled out"


def claim_line(c: Comparison) -> str:
    """A claim, its verdict and its numbers, as one line of Markdown."""
    numbers = (
        f"{signed(c.difference)} {metric_title(c.metric)} "
        f"(95 % interval {signed(c.ci_low)} to {signed(c.ci_high)}, {p_text(c.p)}"
    )
    if c.p_holm is not None and c.p_holm != c.p:
        numbers += f", after Holm {p_text(c.p_holm).removeprefix('p ')}"
    numbers += f"; {spread(c)})" if c.replicates > 1 else ")"
    few = f" Only {c.units} independent units." if c.few else ""
    return f"**{claim_title(c)}** — {VERDICTS[c.verdict]}, {reading(c)}: {numbers}.{few}"


def standing(c: Comparison) -> tuple[str, str]:
    """How an average stands to the best of its runs: (good, open, bad, or nothing where no claim asked; in words). Only a
    declared claim that it beats it shows anything; what looks so without one is called by that word."""
    claim = c.declared and c.hypothesis == "beats"
    significant = c.verdict != "open" if claim else not c.ci_low <= 0 <= c.ci_high
    if c.hypothesis == "beats" and not claim:
        significant = c.p < LEVEL
    if not significant:
        return "open", "not shown to be better"
    state, word = ("good", "better") if c.difference > 0 else ("bad", "worse")
    return (state, word) if claim else ("", f"looks {word}")


def against_best(outcomes: Outcomes, comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Every average of a sweep's runs beside the best of them, on every test set, by the metric that judges:
    average, best, and for each set (None where it wasn't asked) the comparison."""
    metric = outcomes.metrics[0] if outcomes.metrics else None
    found = {(c.model, c.against, c.set): c for c in reversed(comparisons) if c.metric == metric}
    rows = [
        {"average": name, "best": best, "sets": {s: found.get((name, best, s)) for s in outcomes.sets("test")}}
        for name, best in averages(outcomes).items()
    ]
    return [row for row in rows if any(row["sets"].values())]


def best_lines(outcomes: Outcomes, comparisons: Sequence[Comparison]) -> list[str]:
    """In a line for each standing, which averages are in it and where."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in against_best(outcomes, comparisons):
        for c in filter(None, row["sets"].values()):
            words = f"{c.model} on {c.set} ({signed(c.difference)} {metric_title(c.metric)}, 95 % interval {signed(c.ci_low)} to {signed(c.ci_high)})"
            groups[standing(c)[1], row["best"]].append(words)
    lines = []
    for (words, best), entries in groups.items():
        shown = "; ".join(entries[:SHOWN]) + (
            f"; and {len(entries) - SHOWN} more in report.html" if len(entries) > SHOWN else ""
        )
        undeclared = " (not declared beforehand, so no proof)" if words.startswith("looks") else ""
        lines.append(f"{words[0].upper()}{words[1:]} than the best run, {best}{undeclared}: {shown}.")
    return lines


def spread(c: Comparison) -> str:
    """The difference of each replicate, in the order of their names."""
    count = {2: "two", 3: "three", 4: "four", 5: "five"}.get(c.replicates, str(c.replicates))
    return f"{count} replicates: {' '.join(signed(d, 1) for _, d in c.by_replicate)}"


def final_model(outcomes: Outcomes) -> str | None:
    """What the experiment ends in: the last named model that was evaluated."""
    evaluated = {s.model for s in outcomes.sheets.values()}
    names = [n for n in named(outcomes) if n in evaluated and not n.endswith("/best")]
    return names[-1] if names else None


def mean_scores(found: Sequence[Score]) -> dict[tuple[str, str, str, str], tuple[float, float, float]]:
    """(model, split, set, metric) -> value, ci_low, ci_high, each the mean over replicates."""
    groups: dict[tuple, list[Score]] = defaultdict(list)
    for s in found:
        groups[s.model, s.split, s.set, s.metric].append(s)
    return {
        key: tuple(float(np.mean([getattr(s, c) for s in rows])) for c in ("value", "ci_low", "ci_high"))
        for key, rows in groups.items()
    }


def median_runs(outcomes: Outcomes, found: Sequence[Score]) -> dict[str, dict[tuple[str, str, str], float]]:
    """Node of several trained runs -> (split, set, metric) -> the median over its runs, the mean of that over replicates."""
    trained = {m["node"] for m in outcomes.models if m["verb"] == "train"}
    runs = {name: node for node, names in swept_nodes(outcomes).items() if node in trained for name in names}
    values: dict[tuple, list[float]] = defaultdict(list)
    for s in found:
        if s.model in runs:
            values[runs[s.model], s.split, s.set, s.metric, s.replicate].append(s.value)
    medians: dict[tuple, list[float]] = defaultdict(list)
    for (*place, _), of_replicate in values.items():
        medians[tuple(place)].append(float(np.median(of_replicate)))
    shown: dict[str, dict[tuple[str, str, str], float]] = {}
    for (node, *place), each in medians.items():
        shown.setdefault(node, {})[tuple(place)] = float(np.mean(each))
    return shown


def summary(
    outcomes: Outcomes, comparisons: Sequence[Comparison], found: Sequence[Score], costs: Sequence[Mapping[str, str]]
) -> str:
    """summary.md: the claims in words, at most a screen."""
    claims = [c for c in comparisons if c.declared]
    head = [f"# {outcomes.spec['experiment']}", "", headline(claims), ""]
    foot = [""]
    journey = first_to_last(outcomes, found, costs)
    if journey:
        foot += [journey]
    foot += best_lines(outcomes, comparisons)
    foot += [
        *cautions(outcomes, claims),
        *not_faster(outcomes, costs),
        "Positive differences are better, whichever way the metric runs.",
    ]
    foot += ["", "All of it: report.html, comparisons.tsv, scores.tsv."]
    lines = [f"- {claim_line(c)}" for c in claims]
    room = SUMMARY_LINES - len(head) - len(foot)
    if len(lines) > room:
        lines = [*lines[: room - 1], f"- and {len(lines) - room + 1} more claims in comparisons.tsv"]
    if not lines:
        head.pop()
    return "\n".join([*head, *lines, *foot]) + "\n"


def headline(claims: Sequence[Comparison]) -> str:
    """How many claims hold."""
    if not claims:
        return "No claim was declared: what follows is exploration, and proves nothing."
    holding = sum(c.verdict == "holds" for c in claims)
    if len(claims) == 1:
        return "The one claim holds." if holding else "The one claim was not shown."
    if holding == len(claims):
        return f"All {len(claims)} claims hold."
    return f"{holding or 'None'} of {len(claims)} claims {'holds' if holding == 1 else 'hold'}."


def cautions(outcomes: Outcomes, claims: Sequence[Comparison]) -> list[str]:
    """What weakens the evidence."""
    lines = []
    if outcomes.diverged:
        several = len(outcomes.replicates) > 1
        runs = [f"{m}{f' (replicate {r})' if several else ''} at step {step}" for m, r, step in outcomes.diverged]
        shown = ", ".join(runs[:SHOWN]) + (f" and {len(runs) - SHOWN} more" if len(runs) > SHOWN else "")
        lines.append(f"Diverged in training, and left out of every average: {shown}.")
    lines += [f"{', '.join(names)}: {what}." for what, names in outcomes.chance.items()]
    replicates = len(outcomes.replicates)
    if replicates == 1:
        lines.append("One replicate: how much another seed would change is not known (repeat: [1, 2, 3] would tell).")
    elif replicates == 2:
        lines.append("Two replicates: the spread over seeds is hardly known; three are the least for a headline.")
    if any(c.few for c in claims):
        lines.append(f"Fewer than {FEW} independent units in a test set: its p and intervals are rough.")
    split = [c for c in claims if len({d > -(c.margin or 0.0) for _, d in c.by_replicate}) > 1]
    if split:
        lines.append(f"Replicates disagree about: {', '.join(claim_title(c) for c in split)}.")
    return lines


def costs_of(costs: Sequence[Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    """A row of costs.tsv for each model: where replicates have models of other shapes (the smallest of several, heads that
    were cut out), sizes and speeds are means over them as scores are, and speeds range over all."""
    by: dict[str, list[Mapping[str, str]]] = {}
    for row in costs:
        by.setdefault(row["model"], []).append(row)
    found: dict[str, Mapping[str, str]] = {}
    for name, rows in by.items():
        one = dict(rows[0])
        for key, combine in COMBINED.items():
            values = [row.get(key) or "" for row in rows]
            if len(set(values)) > 1 and all(values):
                one[key] = f"{combine(map(float, values)):.10g}"
        found[name] = one
    return found


def not_faster(outcomes: Outcomes, costs: Sequence[Mapping[str, str]]) -> list[str]:
    """Which pruned models are no faster than what they were pruned from: the rounds of both overlap, or theirs were
    slower. In a line, and a line more for those that are slower."""
    cost = {name: c for name, c in costs_of(costs).items() if c.get("speed")}
    parents = {m["name"]: m["parents"][0] for m in outcomes.models if m["verb"] == "prune" and m.get("parents")}
    groups: dict[str, list[str]] = {
        "Pruned, but not measurably faster than before (speeds overlap over rounds)": [],
        "Pruned, and slower than before": [],
    }
    same, slower = groups.values()
    for name, parent in parents.items():
        if name in cost and parent in cost and rounds(cost[name])[0] <= rounds(cost[parent])[1]:
            words = f"{name} ({speed_range(cost[name])}; {parent} {speed_range(cost[parent])} {cost[name].get('speed_unit', '')}"
            sizes = [cost[m].get("parameters") for m in (name, parent)]
            words += "; no smaller either)" if sizes[0] == sizes[1] else ")"
            (slower if rounds(cost[name])[1] < rounds(cost[parent])[0] else same).append(words)
    return [
        f"{title}: {'; '.join(found[:SHOWN])}{f'; and {len(found) - SHOWN} more' if len(found) > SHOWN else ''}."
        for title, found in groups.items()
        if found
    ]


def rounds(cost: Mapping[str, str]) -> tuple[float, float]:
    """The speed of the slowest and of the fastest round of a row of costs.tsv; the median, where it has no others."""
    low, high = (float(cost.get(key) or cost["speed"]) for key in ("speed_low", "speed_high"))
    return low, high


def speed_range(cost: Mapping[str, str]) -> str:
    """Slowest to fastest, such as 14.2 – 15.1."""
    low, high = map(shown_speed, rounds(cost))
    return low if low == high else f"{low} – {high}"


def shown_speed(value: float) -> str:
    """Three digits, and thousands written out: 14.2, 3,550."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def first_to_last(outcomes: Outcomes, found: Sequence[Score], costs: Sequence[Mapping[str, str]]) -> str:
    """From the base to the final model in a sentence; empty if there is nothing to say."""
    last = final_model(outcomes)
    if last is None or not outcomes.metrics:
        return ""
    first, metric = root(outcomes, last), outcomes.metrics[0]
    means = mean_scores([s for s in found if s.metric == metric])
    parts = []
    for name in outcomes.sets("test"):
        a, b = means.get((first, "test", name, metric)), means.get((last, "test", name, metric))
        if first != last and a and b:
            parts.append(f"{name} {a[0]:.2f} → {b[0]:.2f} {metric_title(metric)}")
    cost = costs_of(costs)
    if first in cost and last in cost and cost[first].get("parameters") and cost[last].get("parameters"):
        sizes = [int(float(cost[m]["parameters"])) for m in (first, last)]
        parts.append(f"{' → '.join(short(s) for s in sizes)} parameters")
        if cost[first].get("speed") and cost[last].get("speed"):
            parts.append(f"{float(cost[last]['speed']) / float(cost[first]['speed']):.2f} times the speed")
    return f"From {first} to {last}: {'; '.join(parts)}." if parts else ""


def short(count: float) -> str:
    """A count in thousands or millions, with a space that no line breaks at."""
    for factor, unit in ((1e9, "\u00a0G"), (1e6, "\u00a0M"), (1e3, "\u00a0k")):
        if count >= factor:
            return f"{count / factor:.3g}{unit}"
    return f"{count:g}"


def read_costs(path: str | Path | None) -> list[dict[str, str]]:
    """The rows of costs.tsv; none if it isn't there."""
    if not path or not Path(path).exists():
        return []
    header, *lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]


def swept_nodes(outcomes: Outcomes) -> dict[str, list[str]]:
    """Node -> names of its runs, for nodes that have some."""
    nodes: dict[str, list[str]] = {}
    for model in outcomes.models:
        if is_run(model) and model["name"] not in nodes.setdefault(model["node"], []):
            nodes[model["node"]].append(model["name"])
    return nodes
