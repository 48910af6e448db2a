"""summary.md, and the page's sentences about the experiment as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from consomme.common.evidence import FEW
from consomme.report.evidence.claims import Comparison
from consomme.report.findings import speeds
from consomme.report.findings.edges import edges
from consomme.report.findings.means import cost_per_model, mean_scores
from consomme.report.findings.seen import seen, seen_words
from consomme.report.lineage import final_model, root, swept_nodes
from consomme.report.numbers import metric_title, short
from consomme.report.outcomes import Outcomes
from consomme.report.registered import Registered
from consomme.report.trials import best_trials
from consomme.report.words import register
from consomme.report.words.advice import advice
from consomme.report.words.claims import NUMBERS, SHOWN, best_lines, claim_line, claim_title
from consomme.report.words.failed import failed
from consomme.report.words.odd_rows import odd_rows

LINES = 24


def summary(
    outcomes: Outcomes,
    comparisons: Sequence[Comparison],
    scores: pd.DataFrame,
    costs: pd.DataFrame,
    registered: Registered | None = None,
) -> str:
    """summary.md: the claims in words, at most one screen."""
    claims = [c for c in comparisons if c.declared]
    answer = advice(outcomes, comparisons, scores, costs)
    head = [
        f"# {outcomes.spec['experiment']}",
        "",
        *([answer, ""] if answer else []),
        register.opening(claims, registered),
        "",
    ]
    foot = [""]
    journey = first_to_last(outcomes, scores, costs)
    if journey:
        foot += [journey]
    foot += best_trials(outcomes)
    foot += best_lines(outcomes, comparisons)
    foot += [
        *cautions(outcomes, claims),
        *not_faster(outcomes, costs),
        *register.looks_line(registered),
        *register.register_lines(registered),
        "Positive differences are better, whichever way the metric runs.",
    ]
    foot += ["", "All of it: report.html, comparisons.tsv, scores.tsv."]
    lines = [f"- {claim_line(c)} {register.late_words(registered, c)}".rstrip() for c in claims]
    lines += [f"- {line}" for line in register.untested(registered)]
    room = LINES - len(head) - len(foot)
    if len(lines) > room:
        lines = [*lines[: room - 1], f"- and {len(lines) - room + 1} more claims in comparisons.tsv"]
    if not lines:
        head.pop()
    return "\n".join([*head, *lines, *foot]) + "\n"


def cautions(outcomes: Outcomes, claims: Sequence[Comparison]) -> list[str]:
    """Reasons why the evidence is weak, one line each."""
    lines = []
    if outcomes.diverged:
        several = len(outcomes.replicates) > 1
        runs = [f"{m}{f' (replicate {r})' if several else ''} at step {step}" for m, r, step in outcomes.diverged]
        shown = ", ".join(runs[:SHOWN]) + (f" and {len(runs) - SHOWN} more" if len(runs) > SHOWN else "")
        lines.append(f"Diverged in training, and left out of every average: {shown}.")
    lines += stopped(outcomes)
    lines += [f"{', '.join(names)}: {what}." for what, names in outcomes.chance.items()]
    lines += edges(outcomes)
    lines += _cut(outcomes)
    lines += odd_rows(outcomes)
    lines += failed(outcomes)
    lines += seen_words(outcomes, seen(outcomes))
    if len(outcomes.replicates) == 1:
        lines.append(
            "One replicate: what is shown is shown for these models; other seeds may say otherwise. Three show something for the "
            f"method, more show smaller differences (repeat: [1, 2, 3, 4, 5]){_more(claims)}."
        )
    elif len(outcomes.replicates) == 2:
        lines.append(
            "Two replicates: what is shown is shown for these models. Three are the least for the method, more show smaller "
            f"differences{_more(claims)}."
        )
    if few := [c for c in claims if c.few]:
        units = " and ".join(dict.fromkeys(c.unit for c in few))
        lines.append(f"Fewer than {FEW} independent units ({units}) in a test set: its p and intervals are rough.")
    split = [c for c in claims if len({d > -(c.margin or 0.0) for _, d in c.by_replicate}) > 1]
    if split:
        lines.append(f"Replicates disagree about: {', '.join(claim_title(c) for c in split)}.")
    return lines


def stopped(outcomes: Outcomes) -> list[str]:
    """For each sweep that stopped runs early: how many of them after which steps."""
    lines = []
    for node, names in swept_nodes(outcomes).items():
        at = Counter(step for (name, _), step in outcomes.stopped.items() if name in names)
        if at:
            of = len(names) * len({r for name, r in outcomes.stopped if name in names})
            rungs = " and ".join(f"{count} at step {step}" for step, count in sorted(at.items()))
            lines.append(
                f"{node}: of {of} runs {rungs} were stopped, and left out of every average and of {node}/best."
            )
    return lines


def stopped_words(outcomes: Outcomes, name: str) -> str:
    """`stopped at step 200`, with the replicates where not all say so; empty for a run that reached its end."""
    at = {replicate: step for (model, replicate), step in outcomes.stopped.items() if model == name}
    if len(set(at.values())) == 1 and len(at) == len(outcomes.replicates):
        return f"stopped at step {next(iter(at.values()))}"
    return f"stopped {', '.join(f'at step {step} (replicate {r})' for r, step in at.items())}" if at else ""


def _more(claims: Sequence[Comparison]) -> str:
    """What more replicates could show for the method: the range over the claims."""
    known = [dict(c.foreseen) for c in claims if c.foreseen]
    if not known:
        return ""
    ranges = []
    for count in known[0]:
        ends = [min(k[count] for k in known), max(k[count] for k in known)]
        low, high = (f"{end:.1f}" for end in ends)
        ranges.append(f"{NUMBERS[count]} {low if low == high else f'{low} to {high}'}")
    return f": if seeds move a difference by one standard error of the test, {', '.join(ranges)} points"


def _cut(outcomes: Outcomes) -> list[str]:
    """A line for each metric that cuts the text in another way than most languages'."""
    cuts = {name: outcomes.metric(name).tokenizer for name in outcomes.metrics}
    return [
        f"{metric_title(name)} cuts {language} "
        f"{'into characters' if how == 'char' else f'with the tokenizer {how}'}, not at spaces."
        for name, cut in cuts.items()
        for language in outcomes.written
        if (how := cut(language)) != cut("")
    ]


def not_faster(outcomes: Outcomes, costs: pd.DataFrame) -> list[str]:
    """Lines about pruned models that aren't faster than the original: one for overlapping speeds, one for slower models,
    one if not all were measured alike."""
    parents = {m["name"]: m["parents"][0] for m in outcomes.models if m["verb"] == "prune" and m.get("parents")}
    timed = cost_per_model(costs).dropna(subset="speed")
    timed["shown"] = [
        speeds.speed_range(low, high) for low, high in zip(timed["speed_low"], timed["speed_high"], strict=True)
    ]
    pairs = pd.DataFrame(parents.items(), columns=["model", "parent"])
    pairs = pairs.join(timed, on="model", how="inner").join(timed.add_suffix("_before"), on="parent", how="inner")
    pairs = pairs.loc[[not speeds.unlike(row, _before(row)) for row in pairs.to_dict("records")]]
    pairs = pairs[pairs["speed_low"] <= pairs["speed_high_before"]]
    groups: dict[str, list[str]] = {
        "Pruned, but not measurably faster than before (intervals of the speeds overlap)": [],
        "Pruned, and slower than before": [],
    }
    same, slower = groups.values()
    for row in pairs.to_dict("records"):
        words = f"{row['model']} ({row['shown']}; {row['parent']} {row['shown_before']} {row['speed_unit']}"
        words += "; no smaller either)" if row["parameters"] == row["parameters_before"] else ")"
        (slower if row["speed_high"] < row["speed_low_before"] else same).append(words)
    return [
        f"{title}: {'; '.join(found[:SHOWN])}{f'; and {len(found) - SHOWN} more' if len(found) > SHOWN else ''}."
        for title, found in groups.items()
        if found
    ] + list(filter(None, [speeds.apart(timed)]))


def _before(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {key.removesuffix("_before"): value for key, value in row.items() if key.endswith("_before")}


def first_to_last(outcomes: Outcomes, scores: pd.DataFrame, costs: pd.DataFrame) -> str:
    """From the base to the final model in a sentence; empty if there are no numbers."""
    last = final_model(outcomes)
    if last is None or not outcomes.metrics:
        return ""
    first, metric = root(outcomes, last), outcomes.metrics[0]
    means = mean_scores(scores, metric).pivot(index="set", columns="model", values="value")
    both = means.reindex(index=outcomes.sets("test"), columns=[first, last]).dropna()
    parts = [f"{name} {a:.2f} → {b:.2f} {metric_title(metric)}" for name, a, b in both.itertuples() if first != last]
    cost = cost_per_model(costs).reindex([first, last])
    if cost["parameters"].notna().all():
        parts.append(f"{' → '.join(short(int(size)) for size in cost['parameters'])} parameters")
        if first != last:
            parts += filter(None, [speeds.in_words(speeds.compared(*cost.to_dict("records")))])
    return f"From {first} to {last}: {'; '.join(parts)}." if parts else ""
