"""A gate on each layer of one side, learnt by gradient while the weights stay frozen."""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from consomme.common.log import say

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from consomme.evaluate.judge import Judge
    from consomme.families.base import Family

STEPS, RATE, BATCH = 60, 0.1, 16  # a batch is rows of the development sets
# Adam divides by the size of the gradients: with its usual 1e-8, layers that hardly change the loss would move as fast
# as others
EPSILON = 1e-3
START = 0.01  # upper end of the random first scores, so that the first layers tried are random


def learn(
    model: PreTrainedModel, family: Family, side: str, judge: Judge, drop: int, seed: int
) -> tuple[list[float], list[dict[str, Any]]]:
    """Learn a score for each layer: the logit of its gate, higher is more important. Returns the scores, and the losses of
    every tenth step.

    A layer's output becomes h + g · (layer(h) - h). Forward, g is 1 for the layers of the k highest scores and 0 for the
    others; backward, it is the sigmoid of the score (the straight-through estimator; Bengio et al. 2013, arXiv
    1308.3432). The loss of a step is the sum of three losses: with all layers, with `drop` fewer, and with a number drawn
    between the two (the sandwich rule; Yu and Huang 2019, arXiv 1903.05134)."""
    import torch

    from consomme.evaluate import gradients
    from consomme.evaluate.evaluation_mode import evaluating
    from consomme.families.surgery import layers

    stack = layers(model, family.stacks[side])
    depth, chance, losses = len(stack), random.Random(seed), []
    rows = gradients.shuffled(judge, seed)
    first = torch.rand(depth, generator=torch.Generator().manual_seed(seed)) * START
    scores = first.to(judge.device).requires_grad_()
    optimiser = torch.optim.Adam([scores], lr=RATE, eps=EPSILON)
    with ExitStack() as undo:
        undo.enter_context(evaluating(model, judge.device))
        undo.enter_context(_frozen(model))
        undo.enter_context(torch.enable_grad())
        gates = [torch.ones((), device=judge.device)] * depth
        for number, layer in enumerate(stack):
            undo.enter_context(_gated(layer, gates, number))
        for step in range(1, STEPS + 1):
            places = list(islice(rows, BATCH))
            optimiser.zero_grad()
            total = 0.0
            for count in (depth, depth - drop, chance.randint(depth - drop, depth)):
                gates[:] = _highest(scores, count)
                loss = gradients.loss(judge, model, places)
                loss.backward()  # one backward pass per loss: only one graph is in memory
                total += loss.item()
            optimiser.step()
            if step % 10 == 0 or step == STEPS:
                say(f"learned: step {step} of {STEPS}, loss at three depths {total:.4f}")
                losses.append({"step": step, "loss": total})
    return scores.detach().double().cpu().tolist(), losses


def _highest(scores: Tensor, count: int) -> Sequence[Tensor]:
    """Gates with the sigmoid's gradient: 1 for the `count` highest scores (ties: the first), 0 for the others."""
    import torch

    best = scores.detach().argsort(descending=True, stable=True)[:count]
    hard = torch.zeros_like(scores.detach()).index_fill(0, best, 1.0)
    soft = scores.sigmoid()
    return (hard + (soft - soft.detach())).unbind()


@contextmanager
def _gated(layer: nn.Module, gates: Sequence[Tensor], number: int) -> Generator[None]:
    def gate(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
        before = arguments[0] if arguments else named["hidden_states"]
        after = output[0] if isinstance(output, tuple) else output
        mixed = before + gates[number].to(after.dtype) * (after - before)
        return (mixed, *output[1:]) if isinstance(output, tuple) else mixed

    handle = layer.register_forward_hook(gate, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _frozen(model: PreTrainedModel) -> Generator[None]:
    """Within the block no weight requires a gradient."""
    wanted = [p for p in model.parameters() if p.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)
