"""Which model to take, in a sentence made of the claims' verdicts.

Who takes a model takes its weights, so what is shown for these models counts; of the method, other seeds would have to say
the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pandas as pd

from consomme.report.evidence.claims import Comparison
from consomme.report.findings import speeds
from consomme.report.findings.means import cost_per_model, mean_scores
from consomme.report.lineage import final_model, named, root
from consomme.report.numbers import metric_title, short, signed
from consomme.report.outcomes import Outcomes

HOLDS = "holds"
LIGHTER = 0.99  # of the other's parameters or bytes, at most
REASONS = 3  # claims in the sentence


def advice(outcomes: Outcomes, comparisons: Sequence[Comparison], scores: pd.DataFrame, costs: pd.DataFrame) -> str:
    """The model to take and why, or that nothing beats the base; empty if no model was scored."""
    last = final_model(outcomes)
    if last is None:
        return ""
    base, claims = root(outcomes, last), [c for c in comparisons if c.declared]
    if not claims:
        best = _best(outcomes, scores, [n for n in named(outcomes) if not n.endswith("/best")], outcomes.sets("dev"))
        found = f"; on the development sets {best} is best" if best else ""
        waits = (outcomes.spec.get("register") or {}).get("claims")
        return f"No claim {'is tested yet' if waits else 'was declared'}, so nothing here shows which model to take{found}."
    cost = cost_per_model(costs)
    sound = _sound(claims, comparisons, base, cost)
    left = [m for m in sound if not any(m == c.against for n in sound if n != m for c in sound[n])] or list(sound)
    taken = _best(outcomes, scores, left, [c.set for m in left for c in sound[m]]) or next(iter(left), None)
    if taken is None:
        return f"Keep {base}: no other model was shown to be better, or as good and smaller or faster, with all its claims."
    words = [_reason(c) for c in sound[taken]]
    words += [
        f"{c.model} {_reason(c)[3:]}" for d in sound[taken] if d.hypothesis == "keeps" for c in sound.get(d.against, ())
    ]
    more = [f"{len(words) - REASONS} more claims hold"] if len(words) > REASONS else []
    parts = [_listed([*words[:REASONS], *more]), *_sizes(cost, base, taken), *_losses(comparisons, base, taken)]
    others = [m for m in left if m != taken]
    if others:
        parts.append(f"the claims of {_listed(others)} hold too, but the development sets prefer {taken}")
    return f"Take {taken}: {'; '.join(parts)}."


def _sound(
    claims: Sequence[Comparison], comparisons: Sequence[Comparison], base: str, cost: pd.DataFrame
) -> dict[str, list[Comparison]]:
    """The models that can be taken, with their claims: all hold, also those of the models that they keep to; something is
    gained; and on no set of the claims are they worse than the base, unless a claim allows it."""
    of: dict[str, list[Comparison]] = defaultdict(list)
    for claim in claims:
        of[claim.model].append(claim)

    def shown(model: str, seen: tuple[str, ...] = ()) -> bool:
        own = of[model]
        kept = {c.against for c in own if c.hypothesis == "keeps"}
        allowed = {c.set for c in own if c.hypothesis == "keeps" and c.against == base}
        worse = {c.set for c in comparisons if (c.model, c.against) == (model, base) and c.ci_models_high < 0} - allowed
        seen = (*seen, model)
        return (
            all(c.for_models == HOLDS for c in own)
            and not worse & {c.set for c in own}
            and all(shown(other, seen) for other in kept if other in of and other not in (base, *seen))
        )

    def gains(model: str) -> bool:
        return any(c.hypothesis == "beats" or _lighter(cost, c.against, model) for c in of[model])

    return {model: own for model, own in list(of.items()) if model != base and gains(model) and shown(model)}


def _best(outcomes: Outcomes, scores: pd.DataFrame, models: Sequence[str], sets: Sequence[str]) -> str | None:
    """The model with the best mean of the main metric over those of the development sets; None if none was scored there."""
    if not outcomes.metrics:
        return None
    metric = outcomes.metrics[0]
    dev = mean_scores(scores, metric, "dev")
    dev = dev[dev["set"].isin([s for s in sets if s in outcomes.sets("dev")] or outcomes.sets("dev"))]
    means = outcomes.sign(metric) * dev.groupby("model")["value"].mean().reindex(list(models)).dropna()
    return None if means.empty else str(means.idxmax())


def _reason(c: Comparison) -> str:
    """A claim that holds, as part of a sentence that begins with "it"."""
    if c.hypothesis == "keeps":
        return f"it loses at most {c.margin:g} {metric_title(c.metric)} against {c.against} on {c.set}"
    return f"it beats {c.against} on {c.set} by {c.difference:.2f} {metric_title(c.metric)}"


def _both(cost: pd.DataFrame, first: str, last: str) -> tuple[dict[Any, Any], dict[Any, Any]] | None:
    """The costs of two models, if both were measured."""
    if first == last or not {first, last} <= set(cost.index[cost["parameters"].notna()]):
        return None
    before, after = cost.loc[[first, last]].to_dict("records")
    return before, after


def _lighter(cost: pd.DataFrame, first: str, last: str) -> bool:
    """Whether `last` is smaller than `first`, or faster in every round."""
    if (both := _both(cost, first, last)) is None:
        return False
    before, after = both
    ratio = speeds.compared(before, after)
    faster = isinstance(ratio, speeds.Ratio) and ratio.low > 1
    return faster or any(after[size] <= LIGHTER * before[size] for size in ("parameters", "bytes"))


def _sizes(cost: pd.DataFrame, first: str, last: str) -> list[str]:
    """How much smaller and faster `last` is than `first`, in words; nothing where they are alike."""
    if (both := _both(cost, first, last)) is None:
        return []
    before, after = both
    ratio, sizes = speeds.compared(before, after), [short(row["parameters"]) for row in (after, before)]
    words = [f"{sizes[0]} parameters for {sizes[1]}"] if sizes[0] != sizes[1] else []
    words += [f"{speeds.in_words(ratio)} of {first}"] if isinstance(ratio, speeds.Ratio) else []
    return [f"it has {_listed(words)}"] if words else []


def _losses(comparisons: Sequence[Comparison], base: str, taken: str) -> list[str]:
    """The test sets where the model looks worse than the base, though no claim says how much it may lose."""
    worse = {
        c.set: f"{c.set} ({signed(c.difference)} {metric_title(c.metric)})"
        for c in comparisons
        if (c.model, c.against) == (taken, base) and not c.declared and c.ci_models_high < 0
    }
    return [f"but it looks worse than {base} on {_listed(list(worse.values()))}"] if worse else []


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
