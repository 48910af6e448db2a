"""Distillation of hidden states: each layer of the student learns to say what the teacher's layer that it came from says.

The layers are found by the provenance of both models. States are compared after a layer norm without weights, so that
their scale doesn't matter: the mean squared difference of two such states is 2 (1 - their correlation), 0 to 4."""

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
    """Side -> for each layer of the student the layer of the teacher that it came from, from 1.

    As the provenance of both says where they have an ancestor in common: the student then has some of the teacher's
    layers, whatever prunings, trainings and averages lie between. Where it doesn't tell, one to one if the teacher has as
    many layers; else ConsommeError."""
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

    student, teacher: [batch, places, width]; weights: of each place [batch, places], 0 where there is nothing."""
    valid = weights > 0
    one, other = (functional.layer_norm(s[valid].float(), s.shape[-1:]) for s in (student, teacher))
    return ((one - other).square().mean(-1) * weights[valid]).sum()


class Hidden:
    """Compares the states of a student with those of its teacher.

    layers: as `teachers_layers` says; weight: of the mean over all layers, above 0."""

    def __init__(self, layers: Mapping[str, Sequence[int]], family: Family, weight: float) -> None:
        self.layers, self.family, self.weight = layers, family, weight
        self.count = sum(map(len, layers.values()))

    @contextmanager
    def listening(self, model: PreTrainedModel) -> Generator[Heard]:
        """Within the block, a forward pass leaves the states after each layer that was not skipped in the mapping."""
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
        """`weight` times the distance, meaned over the layers of all sides. A layer that the step left out adds nothing.

        weights: side -> of each place [batch, places]; over all batches of a step their sum is 1."""
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
    """Side -> what each place counts [batch, places]: in an encoder every utterance or sentence counts as one, in a
    decoder every label; 0 in the padding. utterances, items: those and labels of all batches of the step."""
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
    """How many of the `longest` places of the encoder's layers are no padding [batch]."""
    mask = inputs.get("attention_mask")
    if mask is None:  # a window that is heard as a whole, or no padding that the model knows of
        return torch.full((batch,), longest)
    lengths = mask.sum(-1).cpu()
    if mask.shape[1] != longest:
        top = family.output_frames(model, torch.tensor([mask.shape[1]])).clamp_min(1)
        # an adapter on top shortens once more than the layers know
        lengths = (family.output_frames(model, lengths) * longest / top).ceil().long()
    return lengths.clamp(1, longest)
