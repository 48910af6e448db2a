"""A mask on each unit's output, heads and neurons alike. transformers has no head masks any more; a hook before the output
projection of the units applies them."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from consomme.common.errors import ConsommeError
from consomme.prune.scores.base import Subject

if TYPE_CHECKING:
    from torch import Tensor, nn

BATCH = 16  # utterances in one pass; affects only speed, because every utterance has its own mask


class Masks:
    """One mask [utterance, unit] for each part, in the order of groups and layers: counts and values by (group, layer)."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, int], int] = {}
        self.values: dict[tuple[str, int], Tensor] = {}

    def reset(self, utterances: int, device: str) -> None:
        """Set all masks to one; they require gradients."""
        import torch

        self.values = {
            place: torch.ones(utterances, count, device=device, requires_grad=True)
            for place, count in self.counts.items()
        }

    def hook(self, place: tuple[str, int]) -> Any:
        def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            (value, *others) = inputs  # [utterance, time, unit * size]
            parted = (
                value.unflatten(-1, (self.counts[place], -1)) * self.values[place].to(value.dtype)[:, None, :, None]
            )
            return (parted.flatten(-2), *others)

        return before


@contextmanager
def masked(subject: Subject) -> Generator[Masks]:
    """The model with a mask on every unit; hooks and the weights' requires_grad flags are as before afterwards."""
    if subject.of == "heads" and not subject.family.head_hooks:
        raise ConsommeError(
            f"heads.by: the heads of {subject.family.name} can't be masked one by one; choose by magnitude"
        )
    masks, handles = Masks(), []
    wanted = [p for p in subject.model.parameters() if p.requires_grad]
    try:
        for parameter in wanted:
            parameter.requires_grad_(False)
        for group, by in subject.parts().items():
            for place, part in enumerate(by):
                masks.counts[group, place] = part.count
                handles.append(part.down.register_forward_pre_hook(masks.hook((group, place))))
        yield masks
    finally:
        for handle in handles:
            handle.remove()
        for parameter in wanted:
            parameter.requires_grad_(True)


def batches(subject: Subject) -> Iterator[tuple[dict[str, Tensor], int, float]]:
    """The rows of all sets, longest first: (batch on the device, how many rows, the weight of each row). The weights of a
    set's rows add up to the set's. Rows are batched so that padding doesn't change their losses."""
    from consomme.families.windows import Window

    family, processor, config = subject.family, subject.processor, subject.model.config
    window = Window.of(family, config)
    shared = window.alike(config)
    for rows, weight in subject.sets:
        order = sorted(range(len(rows)), key=lambda i: -float(rows.lengths[i]))
        spoken = rows.languages(subject.languages)
        read = ((i, family.features(processor, rows.source(i), spoken[i])) for i in order)
        for _, group in itertools.groupby(read, key=lambda row: shared(rows.lengths[row[0]], row[1])):
            while some := list(itertools.islice(group, BATCH)):
                inputs = [features for _, features in some]
                labels = [family.labels(processor, rows.target(i), spoken[i]) for i, _ in some]
                batch = family.collate(processor, inputs, labels, **window.fitting(inputs))
                dtype = subject.model.dtype
                moved = {k: v.to(subject.device, dtype if v.is_floating_point() else None) for k, v in batch.items()}
                yield moved, len(some), weight / len(rows)


def losses(subject: Subject, batch: dict[str, Tensor]) -> Tensor:
    """The loss per token of each utterance, nats [utterances]."""
    from consomme.evaluate.losses import nll

    summed, tokens = nll(subject.family, subject.model, batch)
    return summed / tokens.clamp(min=1)
