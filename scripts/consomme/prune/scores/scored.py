"""Scores of a model's units on the development sets of a job."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.prune.scores import score_named
from consomme.prune.scores.base import Scores, Subject

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.families.base import Family


def scored(
    plan: Mapping[str, Any],
    of: str,
    model: PreTrainedModel,
    family: Family,
    judge: Callable[[], Any],
    seed: int,
    sides: Collection[str] = (),
) -> Scores:
    """The scores that `plan`, of `heads` or `width`, names: of the model's heads or neurons; `judge()` is asked only for those that look at data, and
    the model is then on its device for the while."""
    score = score_named(by := plan["by"])
    if score.each and of == "neurons":
        raise ConsommeError(f"width.by: '{by}' takes a pass for each unit, and there are too many neurons")
    subject = Subject(model, family, seed=seed, of=of, sides=sides, settings=plan)
    if score.searches:
        at = judge()
        sets = [(at.rows_of_set(name), weight) for name, weight in at.choice.weights.items() if weight]
        languages = at.job.spec["languages"]
        processor = at.evaluator().processor
        subject = Subject(model, family, processor, sets, languages, at.device, seed, of, sides, plan)
    found = score.score(subject)
    model.to("cpu")
    return found
