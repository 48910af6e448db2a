"""Hidden states of every family's layers, as distillation compares them."""

import copy

import pytest
import torch

from consomme.families import surgery
from consomme.train.hidden import Hidden, place_weights, teachers_layers


def test_states_of_all_families_are_heard_and_their_places_weighed(tiny):
    family, teacher = tiny.family, tiny.model
    depths = {side: len(surgery.layers(teacher, stack)) for side, stack in family.stacks.items()}
    assert teachers_layers(family, tiny.folder, tiny.folder) == {s: list(range(1, n + 1)) for s, n in depths.items()}
    batch = dict(tiny.batch)
    labels = batch.pop("labels")
    if family.objective != "ctc":
        batch["decoder_input_ids"] = family.decoder_inputs(teacher, labels)
    student = surgery.keep_layers(copy.deepcopy(teacher), family, {side: [0, 2] for side in depths})
    own = Hidden({side: [1, 3] for side in depths}, family, 2.0)
    with (
        torch.no_grad(),
        own.listening(student) as heard,
        own.listening(teacher) as said,
        family.fitted(teacher, batch),
    ):
        student(**batch)
        teacher(**batch)
    assert set(heard) == {(side, n) for side in depths for n in (0, 1)} and len(said) == sum(depths.values())
    weights = place_weights(family, student, batch, labels, heard, len(labels), (labels != -100).sum())
    for side, weight in weights.items():
        assert weight.shape == heard[side, 0].shape[:2] and weight.sum().item() == pytest.approx(1)
    # the first example is the longer one: nothing of it is padding; of the second there is, where the model has a mask
    padded = (weights["encoder"] == 0).any(1).tolist()
    assert padded == [False, "attention_mask" in batch]
    assert own.loss(heard, said, weights).item() > 1e-3
    same = {key: said[key[0], own.layers[key[0]][key[1]] - 1] for key in heard}
    assert own.loss(same, said, weights).item() == 0
