"""Distillation of hidden states: each layer of the student is trained towards the teacher's layer that it came from.

The provenance of both models tells which layer that is. States are compared after a layer norm without weights, which
removes their scale: the mean squared difference of two such states is 2 (1 - their correlation), 0 to 4."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from consomme.common.errors import ConsommeError
from consomme.common.files import read_json
from consomme.common.provenance import lineage
from consomme.families.base import value_of
from consomme.train.losses import IGNORED, frame_weights

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from consomme.families.base import Family

Heard = dict[tuple[str, int], "Tensor"]  # (side, layer, from 0) -> states [batch, places, width]


def teachers_layers(family: Family, student: Path, teacher: Path) -> dict[str, list[int]]:
    """Side -> for each layer of the student, the layer of the teacher that it came from (from 1).

    If both have a common ancestor by their provenance, the student has some of the teacher's layers, whatever prunings,
    trainings and averages lie between. Without one, layers are mapped one to one if both have equally many; else
    ConsommeError."""
    found: dict[str, list[int]] = {}
    ours, theirs = lineage(student), lineage(teacher)
    for side, stack in family.stacks.items():
        depth, depths = (int(value_of(read_json(folder / "config.json"), stack.count)) for folder in (student, teacher))
        mine, its = (o["layers"].get(side) for o in (ours, theirs))
        mine, its = mine or list(range(1, depth + 1)), its or list(range(1, depths + 1))
        followed = ours["weights"] == theirs["weights"] and (len(mine), len(its)) == (depth, depths)
        if followed and set(mine) <= set(its):
            found[side] = [its.index(n) + 1 for n in mine]
        elif depth == depths:
            found[side] = list(range(1, depth + 1))
        else:
            why = (
                f"it lacks layers {sorted(set(mine) - set(its))} of the model that both come from"
                if followed
                else "the provenance of both doesn't lead to one model"
            )
            raise ConsommeError(
                f"distil.hidden: {side}: which of the teacher's {depths} layers are the student's {depth}? {why} "
                f"({student}, {teacher}). Distil from the model that the student was pruned from or one trained from that, "
                "from one with as many layers, or leave `hidden` out (logits alone need no such map)"
            )
    return found


def distance(student: Tensor, teacher: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum over places of the mean squared difference between normalised states: scalar.

    student, teacher: [batch, places, width]; weights: of each place [batch, places], 0 for padding."""
    valid = weights > 0
    one, other = (functional.layer_norm(s[valid].float(), s.shape[-1:]) for s in (student, teacher))
    return ((one - other).square().mean(-1) * weights[valid]).sum()


class Hidden:
    """Compares the states of a student with those of its teacher.

    layers: result of `teachers_layers`; weight: of the mean over all layers, above 0."""

    def __init__(self, layers: Mapping[str, Sequence[int]], family: Family, weight: float) -> None:
        self.layers, self.family, self.weight = layers, family, weight
        self.count = sum(map(len, layers.values()))

    @contextmanager
    def listening(self, model: PreTrainedModel) -> Generator[Heard]:
        """Within the block, a forward pass stores the states after each layer in the mapping. Skipped layers have none."""
        from consomme.families.surgery import layers

        heard: Heard = {}

        def hook(key: tuple[str, int]) -> Any:
            def after(module: nn.Module, inputs: Any, output: Any) -> None:
                heard[key] = output[0] if isinstance(output, tuple) else output

            return after

        handles = [
            layer.register_forward_hook(hook((side, n)))
            for side in self.layers
            for n, layer in enumerate(layers(model, self.family.stacks[side]))
        ]
        try:
            yield heard
        finally:
            for handle in handles:
                handle.remove()

    def loss(self, student: Heard, teacher: Heard, weights: Mapping[str, Tensor]) -> Tensor:
        """`weight` times the mean distance over the layers of all sides. A layer skipped by layer drop counts as 0.

        weights: side -> weight of each place [batch, places]; they sum to 1 over all batches of a step."""
        parts = []
        for (side, n), states in student.items():
            said = teacher[side, self.layers[side][n] - 1]
            if said.shape != states.shape:
                raise ConsommeError(
                    f"distil.hidden: {side}: the teacher's states are {tuple(said.shape[1:])} [places, width], the "
                    f"student's {tuple(states.shape[1:])}; leave `hidden` out, or distil from a model of the same width"
                )
            parts.append(distance(states, said, weights[side]))
        return self.weight * sum(parts, torch.zeros((), device=next(iter(weights.values())).device)) / self.count


def place_weights(
    family: Family,
    model: PreTrainedModel,
    inputs: Mapping[str, Any],
    labels: Tensor,
    heard: Heard,
    utterances: int,
    items: Tensor | int,
) -> dict[str, Tensor]:
    """Side -> weight of each place [batch, places], 0 for padding. An encoder's weights are equal for every utterance or
    sentence, a decoder's for every label. utterances, items: number of utterances and labels of all batches of the step."""
    found = {}
    for side, longest in {side: states.shape[1] for (side, _), states in heard.items()}.items():
        if side == "decoder":
            found[side] = (labels != IGNORED).float() / items
        else:
            lengths = encoder_lengths(family, model, inputs, longest, len(labels))
            found[side] = (frame_weights(lengths, longest) / utterances).to(labels.device)
    return found


def encoder_lengths(
    family: Family, model: PreTrainedModel, inputs: Mapping[str, Any], longest: int, batch: int
) -> Tensor:
    """The number of places without padding among the `longest` of the encoder's layers [batch]."""
    mask = inputs.get("attention_mask")
    if mask is None:  # a full window, or no padding
        return torch.full((batch,), longest)
    lengths = mask.sum(-1).cpu()
    if mask.shape[1] != longest:
        top = family.output_frames(model, torch.tensor([mask.shape[1]])).clamp_min(1)
        # an adapter on top of the layers shortens further
        lengths = (family.output_frames(model, lengths) * longest / top).ceil().long()
    return lengths.clamp(1, longest)
