"""Choosing on development sets: the objective to maximise, and limits on what may be lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.evaluate.metrics import metric_named

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.evaluate.evaluator import Around, Evaluator

CONFIDENCE = 0.95
LEAST = 5  # units: with fewer, no result is significant at this level, as 2 ** -4 > 0.05


@dataclass(frozen=True)
class Limit:
    """On one set, the model may be worse than the model `of` by at most `lose_at_most`, in `metric`'s own unit."""

    lose_at_most: float
    of: str
    metric: str


@dataclass(frozen=True)
class Choice:
    """A parsed `choose_on`."""

    metric: str  # of the weighted sets
    weights: Mapping[str, float]  # set -> weight > 0
    limits: Mapping[str, Limit]  # by set

    @classmethod
    def parse(cls, choose_on: Mapping[str, Any] | Choice) -> Choice:
        """Read a normalised `choose_on`; a Choice is returned as it is.

        {"metric": M, "sets": {SET: {"weight": W} or {"lose_at_most": D, "of": NODE}}}; a set may have both, and a
        limit's "metric" is the choice's unless it has its own."""
        if isinstance(choose_on, Choice):
            return choose_on
        metric, sets = choose_on["metric"], choose_on["sets"]
        weights = {name: float(s["weight"]) for name, s in sets.items() if s.get("weight") is not None}
        limits = {
            name: Limit(float(s["lose_at_most"]), s["of"], s.get("metric") or metric)
            for name, s in sets.items()
            if s.get("lose_at_most") is not None
        }
        if not weights or min(weights.values()) < 0 or sum(weights.values()) <= 0:
            raise ConsommeError(f"choose_on: needs a set to be best on, with a positive weight; given {dict(sets)}")
        for name in {metric, *(limit.metric for limit in limits.values())}:
            metric_named(name)
        return cls(metric, weights, limits)

    @property
    def references(self) -> list[str]:
        """The names of the models that the limits compare with, each once."""
        return list(dict.fromkeys(limit.of for limit in self.limits.values()))


def objective(
    evaluator: Evaluator,
    model: PreTrainedModel,
    choice: Choice | Mapping[str, Any],
    around: Around | None = None,
) -> float:
    """The weighted mean of the metric over the choice's sets, with its sign set so that higher is better. around: as in
    `Evaluator.statistics`."""
    choice = Choice.parse(choice)
    metric = metric_named(choice.metric)
    weighted = {s: w for s, w in choice.weights.items() if w}
    total = sum(w * metric.gain(evaluator.value(model, s, choice.metric, around)) for s, w in weighted.items())
    return total / sum(choice.weights.values())


def admissible(
    evaluator: Evaluator,
    model: PreTrainedModel,
    references: Mapping[str, tuple[Evaluator, PreTrainedModel]],
    choice: Choice | Mapping[str, Any],
) -> tuple[bool, dict[str, dict[str, Any]]]:
    """Whether the model keeps every limit of the choice, and the figures by set. references: name -> a model and its
    evaluator on the same sets (its tokenizer may be a different one).

    On each limited set the loss is the difference to the reference, in the metric's unit (positive: the model is worse).
    Its upper one-sided 95 % bound, from 2,000 paired resamples of the set's units with a fixed seed, must be at most
    `lose_at_most`, so a set that is too small to show the loss doesn't pass. A model with the same statistics as the
    reference has a bound of exactly 0, so it is admissible even if nothing may be lost."""
    import numpy as np

    from consomme.evaluate.bootstrap import bootstrap

    choice = Choice.parse(choice)
    details: dict[str, dict[str, Any]] = {}
    for name, limit in choice.limits.items():
        if limit.of not in references:
            raise ConsommeError(
                f"choose_on: {name}: 'of: {limit.of}' is not among the models given; allowed: {sorted(references)}"
            )
        metric = metric_named(limit.metric)
        units = np.asarray(evaluator.sets[name].units)
        if (independent := len(np.unique(units))) < LEAST:
            raise ConsommeError(
                f"choose_on: {name}: lose_at_most needs a development set of {LEAST} or more units, and its {len(units)} rows "
                f"make {independent} (rows that share recordings or documents are one); add rows, or leave 'document' out "
                f"of its corpus"
            )
        pair = [e.statistics(m, name, limit.metric) for e, m in (references[limit.of], (evaluator, model))]
        before, after = (float(metric.value(s.sum(axis=0))) for s in pair)
        resampled = metric.gain(bootstrap(metric, pair, units))
        bound = float(np.quantile(resampled[0] - resampled[1], CONFIDENCE, method="higher"))
        details[name] = {
            "metric": limit.metric,
            "of": limit.of,
            "reference": before,
            "value": after,
            "loss": metric.gain(before) - metric.gain(after),
            "bound": bound,
            "lose_at_most": limit.lose_at_most,
            "admissible": bound <= limit.lose_at_most,
        }
    return all(d["admissible"] for d in details.values()), details
