"""Importance by ablation: the development loss without each head, one at a time (Michel et al. 2019, arXiv 1905.10650,
3.2)."""

from __future__ import annotations

from consomme.prune.scores.base import Score, Scores, Subject


def leave_one_out(subject: Subject) -> Scores:
    """How much the loss per token rises without the head, averaged over rows and weighted over sets. It takes one
    pass over the development sets for each head, and one for the whole model. The score is negative if the loss falls
    without the head."""
    import torch

    from consomme.evaluate.evaluation_mode import evaluating
    from consomme.prune.scores.masks import batches, losses, masked

    with evaluating(subject.model, subject.device), masked(subject) as masks, torch.no_grad():
        places = masks.counts
        total = {place: [0.0] * heads for place, heads in places.items()}
        for batch, count, weight in batches(subject):
            masks.reset(count, subject.device)
            whole = losses(subject, batch)
            for place, heads in places.items():
                for head in range(heads):
                    masks.values[place][:, head] = 0
                    total[place][head] += weight * (losses(subject, batch) - whole).double().sum().item()
                    masks.values[place][:, head] = 1
    scores: Scores = {}
    for (group, _layer), values in total.items():
        scores.setdefault(group, []).append(values)
    return scores


LEAVE_ONE_OUT = Score("leave_one_out", leave_one_out, searches=True, each=True)
