"""Intermediate CTC: which states are heard, and the loss that is made of them."""

import pytest
import torch

from consomme.families import family_named, load
from consomme.train import losses
from consomme.train.intermediate_ctc import IntermediateCtc, spread
from consomme.train.layer_drop import LayerDrop
from consomme.train.stage import run

DEPTH = 6


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A family, a model of six layers, and a batch with labels."""
    folder, family = tmp_path_factory.mktemp("deep"), family_named("ctc")
    scratch = {"hidden_size": 16, "num_hidden_layers": DEPTH, "num_attention_heads": 2, "intermediate_size": 16}
    family.create(folder, scratch, {}, lambda: iter(["ab"]), ["en"], seed=1)
    random = torch.Generator().manual_seed(0)
    features = [torch.randn(length, 240, generator=random).numpy() for length in (30, 20)]
    return family, load(folder), family.collate(family.processor(folder), features, [[3, 4], [4, 3, 4]])


def captured(encoder, settings, training=False, step=0, layerdrop=0.0):
    """The states after the layers asked for, and those after each layer that was not skipped, by its number."""
    family, model, batch = encoder
    intermediate = IntermediateCtc({"weight": 0.3, **settings}, model, family, seed=1)
    done = {}
    handles = [
        layer.register_forward_hook(lambda m, i, out, n=n: done.update({n: out if torch.is_tensor(out) else out[0]}))
        for n, layer in enumerate(intermediate.stack, start=1)
    ]
    drop = LayerDrop({"encoder_layerdrop": layerdrop}, model, family, seed=1, total=100)
    model.train(training)
    inputs = {k: v for k, v in batch.items() if k != "labels"}
    try:
        with intermediate.capture(step) as states, drop.dropping(step):
            model(**inputs)
    finally:
        model.eval()
        for handle in handles:
            handle.remove()
    return intermediate, states, done


def test_spread_taps_lie_evenly_below_the_top():
    assert spread(1, 18) == [9] and spread(2, 18) == [6, 12] and spread(5, 6) == [1, 2, 3, 4, 5]
    for depth in range(2, 30):
        for count in range(1, depth):
            found = spread(count, depth)
            assert len(set(found)) == count and found[0] >= 1 and found[-1] < depth


def test_the_loss_is_that_of_the_stock_models_hidden_states(encoder):
    family, model, batch = encoder
    intermediate, states, _ = captured(encoder, {"layers": [4, 2]})
    inputs, labels = {k: v for k, v in batch.items() if k != "labels"}, batch["labels"]
    hidden = model.wav2vec2_bert(**inputs, output_hidden_states=True).hidden_states
    assert [torch.equal(s, hidden[n]) for s, n in zip(states, (2, 4), strict=True)] == [True, True]
    frames, blank = family.frames(model, inputs), model.config.pad_token_id
    each = [losses.ctc(model.lm_head(state), labels, frames, blank, 2) for state in (hidden[2], hidden[4], hidden[6])]
    expected = 0.7 * each[2] + 0.3 * (each[0] + each[1]) / 2
    torch.testing.assert_close(intermediate.mixed(each[2], each[:2]), expected)


def test_hooks_are_gone_afterwards_even_after_an_error(encoder):
    family, model, _ = encoder
    intermediate = IntermediateCtc({"weight": 0.3, "layers": [2]}, model, family, seed=1)
    before = [len(layer._forward_hooks) for layer in intermediate.stack]
    with pytest.raises(RuntimeError), intermediate.capture(0):
        raise RuntimeError
    assert [len(layer._forward_hooks) for layer in intermediate.stack] == before


def test_a_skipped_layers_tap_hears_the_latest_below_it(encoder):
    """Many draws of layer drop: each state is the output of the right layer, where one was executed below."""
    seen = set()
    for step in range(60):
        _, states, done = captured(encoder, {"layers": [2, 4]}, training=True, step=step, layerdrop=0.5)
        below = [max((n for n in done if n <= layer), default=None) for layer in (2, 4)]
        expected = [done[n] for n in dict.fromkeys(below) if n is not None]
        assert len(states) == len(expected) and all(s is e for s, e in zip(states, expected, strict=True))
        seen.add(tuple(below))
    assert {(None, None), (2, 4), (2, 2), (1, 3)} <= seen  # none, both, one for both, each one lower


def test_no_tap_is_left_alone(encoder):
    intermediate, _, _ = captured(encoder, {"layers": [2]})
    top = torch.tensor(1.5)
    assert intermediate.mixed(top, []) is top


def test_random_taps_depend_on_seed_and_step_and_reach_every_layer_below_the_top(encoder):
    family, model, _ = encoder
    one, same, other = (IntermediateCtc({"weight": 0.3, "random": 2}, model, family, seed) for seed in (1, 1, 2))
    draws = [tuple(one.layers(step)) for step in range(100)]
    assert draws == [tuple(same.layers(step)) for step in range(100)] != [tuple(other.layers(s)) for s in range(100)]
    assert {n for draw in draws for n in draw} == set(range(1, DEPTH)) and all(len(set(d)) == 2 for d in draws)


def test_a_training_with_taps_teaches_the_lower_layers(tmp_path, recogniser, tones, job):
    """The same training with and without: the head reads the first of two layers better where that had a loss too."""
    found = {}
    for name, intermediate in (("plain", None), ("intermediate", {"layers": [1], "weight": 0.5})):
        made = job(tmp_path / name, recogniser, {"tones": tones}, max_steps=60, intermediate_ctc=intermediate)
        run(made)
        family, model = family_named("ctc"), load(made.out)
        processor = family.processor(made.out)
        from consomme.data.prepared import Rows

        rows = Rows.open([tones])
        texts = [family.labels(processor, t, ["en"]) for t in rows.targets]
        batch = family.collate(processor, [family.features(processor, rows.source(i)) for i in range(len(rows))], texts)
        labels = batch.pop("labels")
        with torch.no_grad():
            state = model.wav2vec2_bert(**batch, output_hidden_states=True).hidden_states[1]
            found[name] = losses.ctc(model.lm_head(state), labels, family.frames(model, batch), 0, len(labels)).item()
    assert found["intermediate"] < found["plain"] - 0.1
