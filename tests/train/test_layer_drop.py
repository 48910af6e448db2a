"""Which layers a step leaves out."""

import numpy as np
import pytest
import torch

from consomme.families import family_named, load
from consomme.families.surgery import layers
from consomme.train.layer_drop import LayerDrop

DEPTH = 8


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder, family = tmp_path_factory.mktemp("deep"), family_named("ctc")
    scratch = {"hidden_size": 8, "num_hidden_layers": DEPTH, "num_attention_heads": 2, "intermediate_size": 8}
    family.create(folder, scratch, {}, lambda: iter(["ab"]), ["en"], seed=1)
    return family, load(folder)


def drop(encoder, seed=1, total=100, **settings):
    family, model = encoder
    return LayerDrop({"encoder_layerdrop": 0.5, **settings}, model, family, seed, total)


def dropped(encoder, made, step, batch=0):
    family, model = encoder
    stack = family.stacks["encoder"]
    whole = list(layers(model, stack))
    with made.dropping(step, batch):
        there = list(layers(model, stack))
    assert list(layers(model, stack)) == whole
    return [layer not in there for layer in whole]


def share(encoder, made, steps):
    return np.mean([dropped(encoder, made, step) for step in steps], axis=0)


def test_each_layer_goes_as_often_as_the_rate_says(encoder):
    assert np.allclose(share(encoder, drop(encoder, encoder_layerdrop=0.3), range(600)), 0.3, atol=0.07)


def test_the_rate_may_grow_with_depth(encoder):
    found = share(encoder, drop(encoder, layerdrop_by_depth="linear"), range(600))
    assert np.allclose(found, 0.5 * np.arange(1, DEPTH + 1) / DEPTH, atol=0.07)


def test_the_rate_may_rise_over_the_first_steps(encoder):
    made = drop(encoder, total=1000, layerdrop_warmup_ratio=0.5)
    assert [made.probabilities(0, DEPTH, step)[0] for step in (0, 249, 499, 800)] == [0.001, 0.25, 0.5, 0.5]


def test_seed_step_and_batch_alone_decide(encoder):
    one, same, other = drop(encoder), drop(encoder), drop(encoder, seed=2)
    draws = [dropped(encoder, one, step) for step in range(20)]
    assert draws == [dropped(encoder, same, step) for step in range(20)]
    assert draws != [dropped(encoder, other, step) for step in range(20)]
    assert draws != [dropped(encoder, one, step, batch=1) for step in range(20)]


def test_what_is_computed_is_the_model_without_those_layers(encoder):
    from copy import deepcopy

    from consomme.families.surgery import keep_layers

    family, model = encoder
    made = drop(encoder)
    inputs = {"input_features": torch.randn(1, 20, 240), "attention_mask": torch.ones(1, 20, dtype=torch.int64)}
    gone = dropped(encoder, made, 3)
    assert 0 < sum(gone) < DEPTH
    pruned = keep_layers(deepcopy(model), family, {"encoder": [n for n, out in enumerate(gone) if not out]})
    with torch.no_grad(), made.dropping(3):
        assert torch.equal(model(**inputs).logits, pruned(**inputs).logits)


def test_a_model_may_lose_all_its_layers_for_a_step(encoder):
    _, model = encoder
    with drop(encoder, encoder_layerdrop=1 - 1e-9).dropping(0):
        found = model(input_features=torch.randn(1, 9, 240)).logits
    assert found.isfinite().all()
