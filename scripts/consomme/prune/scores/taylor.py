"""Importance by one backward pass over the development sets.

Michel, Levy and Neubig 2019, arXiv 1905.10650: with a mask of ones on each head's output, the expected |dL/dmask|
estimates how much the loss would change without the head. The same holds for neurons (Molchanov et al. 2017, arXiv
1611.06440)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consomme.prune.scores.base import Score, Scores, Subject

if TYPE_CHECKING:
    from torch import Tensor


def taylor(subject: Subject) -> Scores:
    """E|dL/dmask| of each unit: L is an utterance's loss per token, the expectation runs over the rows of each set, and
    sets count by their weight. Gradients are those of single utterances, so neither batch size nor order matters."""
    import torch

    from consomme.evaluate.evaluation_mode import evaluating
    from consomme.prune.scores.masks import batches, losses, masked

    total: dict[tuple[str, int], Tensor] = {}
    with evaluating(subject.model, subject.device), masked(subject) as masks:
        for batch, count, weight in batches(subject):
            masks.reset(count, subject.device)
            with torch.enable_grad():
                losses(subject, batch).sum().backward()
            for place, mask in masks.values.items():
                assert mask.grad is not None  # backward has just run
                found = mask.grad.abs().double().sum(dim=0).cpu() * weight
                total[place] = total[place] + found if place in total else found
    scores: Scores = {}
    for (group, _layer), value in total.items():
        scores.setdefault(group, []).append(value.tolist())
    return scores


TAYLOR = Score("taylor", taylor, searches=True, by_module=True)
