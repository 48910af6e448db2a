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
    """The scores of the model's heads or neurons that `plan`, the settings of `heads` or `width`, names. `judge()` is called
    only for scores that read data; the model is then on its device meanwhile, and on the CPU afterwards."""
    score = score_named(by := plan["by"])
    if score.each and of == "neurons":
        raise ConsommeError(f"width.by: '{by}' needs one pass per unit, and there are too many neurons")
    subject = Subject(model, family, seed=seed, of=of, sides=sides, settings=plan)
    if score.searches:
        at = judge()
        weights = {name: weight for name, weight in at.choice.weights.items() if weight}
        sets = [
            (at.rows_of_set(name).select(at.evaluator().inputs(name).usable()), weight)
            for name, weight in weights.items()
        ]
        languages = at.job.spec["languages"]
        processor = at.evaluator().processor
        subject = Subject(model, family, processor, sets, languages, at.device, seed, of, sides, plan)
    found = score.score(subject)
    model.to("cpu")
    return found
