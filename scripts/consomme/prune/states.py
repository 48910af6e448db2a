"""Cosine similarity of the hidden states between the layers of one side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from consomme.evaluate.judge import Judge
    from consomme.families.base import Family

ROWS = 64  # per development set; the mean cosine over 64 utterances is accurate to a few thousandths


def cosines(model: PreTrainedModel, family: Family, side: str, judge: Judge) -> list[list[float]]:
    """Mean cosines between hidden states, [depth + 1, depth + 1]. State i is the input of layer i (from 0), the last state
    is the output of the last layer. The two states of a cosine belong to the same position.

    The mean is over positions, over up to 64 rows of each development set of the choice, and over the sets by their
    weights. Rows are run one at a time, so that no padding counts."""
    import torch

    from consomme.evaluate.evaluation_mode import evaluating
    from consomme.families.surgery import layers

    states: list[Tensor] = []

    def before(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        states.append(arguments[0] if arguments else named["hidden_states"])

    def after(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        states.append(output[0] if isinstance(output, tuple) else output)

    stack = layers(model, family.stacks[side])
    handles = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in stack]
    handles.append(stack[-1].register_forward_hook(after))
    weights = {name: weight for name, weight in judge.choice.weights.items() if weight}
    total = torch.zeros(len(stack) + 1, len(stack) + 1, dtype=torch.float64)
    try:
        with evaluating(model, judge.device), torch.no_grad():
            for name, weight in weights.items():
                rows = judge.evaluator().inputs(name).usable()[:ROWS]
                share = weight / sum(weights.values()) / len(rows)
                for row in rows:
                    states.clear()
                    judge.evaluator().nll(model, name, [row])
                    unit = torch.nn.functional.normalize(torch.stack([s[0].double() for s in states]), dim=-1)
                    total += share * torch.einsum("iph,jph->ij", unit, unit).cpu() / unit.shape[1]
    finally:
        for handle in handles:
            handle.remove()
    return total.tolist()
