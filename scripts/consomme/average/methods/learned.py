"""The learned soup of Wortsman et al. 2022, arXiv 2203.05482, appendix I: mixing weights by gradient on development data.

Weights are a softmax, so that the result lies between the ingredients. They start at the plain mean. With `groups: layer`
each layer has its own weights, and all other tensors share one set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from consomme.average.methods.base import Method, Mix
from consomme.common.errors import ConsommeError
from consomme.common.log import say
from consomme.common.settings import Section
from consomme.common.values import Integer, Number

if TYPE_CHECKING:
    from consomme.families.base import Family

STEPS, RATE, BATCH = 60, 0.1, 16
GROUPS = ("model", "layer")
REST = "rest"


class Settings(Section):
    """Settings of learned."""

    groups: Literal["model", "layer"] | None = Field(
        None, description="model: one weight for each model; layer: one for each model and layer; default model"
    )
    steps: Integer | None = Field(
        None, ge=1, le=10**6, description=f"of Adam, on {BATCH} development rows each; default {STEPS}"
    )
    learning_rate: Number | None = Field(None, gt=0, le=100, description=f"of Adam on the logits; default {RATE}")


def build(mix: Mix, folder: Path) -> dict[str, Any]:
    """Write the mean with the weights after `steps` steps of Adam on 16 development rows each, or the plain mean if that is
    as good by the objective of choose_on. Returns the weights by group and the objectives of both."""
    import torch

    from consomme.evaluate import gradients
    from consomme.families import family_of
    from consomme.weights.candidates import Candidates
    from consomme.weights.mean import ByTensor, write_mean, write_merge

    judge, count = mix.judge(), len(mix.parents)
    steps, rate = int(mix.setting("steps", STEPS)), float(mix.setting("learning_rate", RATE))
    donor = next(iter(mix.parents.values()))
    rows = gradients.shuffled(judge, int(mix.setting("seed", 0)))
    with Candidates(mix.parents, judge.device, mix.renew) as candidates:
        groups = groups_of(candidates.layout, family_of(donor), mix.setting("groups", "model"))
        names = list(dict.fromkeys(groups.values()))
        logits = torch.zeros(len(names), count, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.Adam([logits], lr=rate)
        for step in range(1, steps + 1):
            mixing = torch.softmax(logits, -1)
            model = candidates.mixed(_of(groups, names, mixing.tolist()), renewed=False)
            model.zero_grad(set_to_none=True)
            with torch.enable_grad():
                loss = gradients.loss(judge, model, list(islice(rows, BATCH)))
                loss.backward()
            slopes = torch.zeros_like(mixing)
            found = gradients.gradients(model)
            for tensor, group in groups.items():
                if tensor in found:
                    slope = candidates.alignment(tensor, found[tensor].float().cpu().numpy().ravel())
                    slopes[names.index(group)] += torch.from_numpy(slope)
            optimiser.zero_grad()
            mixing.backward(slopes)
            optimiser.step()
            if step % 10 == 0 or step == steps:
                say(f"learned: step {step} of {steps}, loss {loss.item():.4f}")
        candidates.vessel.zero_grad(set_to_none=True)
        final = torch.softmax(logits.detach(), -1).tolist()
        of = _of(groups, names, final)
        before = judge.objective(candidates.mixed(lambda tensor: [1 / count] * count))
        after = judge.objective(candidates.mixed(of))
    taken = after > before
    if taken:
        write_merge(folder, mix.parents, lambda models: ByTensor(models, of))
    else:
        write_mean(folder, mix.parents)
    say(f"learned: {judge.text(after)}, the plain mean {judge.text(before)}")
    return {
        "ingredients": list(mix.parents),
        "metric": judge.choice.metric,
        "scores": {"learned": judge.score(after), "uniform": judge.score(before)},
        "taken": "learned" if taken else "uniform",
        "weights": {
            name: dict(zip(mix.parents, row if taken else [1 / count] * count, strict=True))
            for name, row in zip(names, final, strict=True)
        },
    }


def groups_of(layout: Mapping[str, Any], family: Family, by: str) -> dict[str, str]:
    """tensor -> its group: `model`, or SIDE.LAYER (from 1) and `rest`."""
    if by not in GROUPS:
        raise ConsommeError(f"groups: '{by}' given; allowed: {', '.join(GROUPS)}")

    def group(tensor: str) -> str:
        for side, stack in family.stacks.items():
            inside = tensor.removeprefix(stack.layers + ".")
            if inside != tensor:
                return f"{side}.{int(inside.partition('.')[0]) + 1}"
        return REST

    return {tensor: group(tensor) if by == "layer" else "model" for tensor in layout}


def _of(groups: Mapping[str, str], names: Sequence[str], weights: Sequence[Sequence[float]]) -> Any:
    rows = dict(zip(names, weights, strict=True))
    return lambda tensor: rows[groups[tensor]]


LEARNED = Method(
    "learned",
    build,
    least=2,
    settings=Settings,
    chooses=lambda settings: True,
    seeded=True,
    limits=False,
)
