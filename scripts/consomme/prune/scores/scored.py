"""Scores of a model's units on the development sets of a job."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.prune.scores import score_named
from consomme.prune.scores.base import Scores, Subject

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.families.base import Family


def scored(
    by: str,
    of: str,
    model: PreTrainedModel,
    family: Family,
    judge: Callable[[], Any],
    seed: int,
    sides: Collection[str] = (),
) -> Scores:
    """The scores of that name of the model's heads or neurons; `judge()` is asked only for those that look at data, and
    the model is then on its device for the while."""
    score = score_named(by)
    if score.each and of == "neurons":
        raise ConsommeError(f"width.by: '{by}' takes a pass for each unit, and there are too many neurons")
    subject = Subject(model, family, seed=seed, of=of, sides=sides)
    if score.searches:
        at = judge()
        sets = [(at.rows_of_set(name), weight) for name, weight in at.choice.weights.items() if weight]
        languages = at.job.spec["languages"]
        subject = Subject(model, family, at.evaluator().processor, sets, languages, at.device, seed, of, sides)
    found = score.score(subject)
    model.to("cpu")
    return found
