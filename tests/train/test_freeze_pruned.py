"""What was pruned by zeroing stays zero, whatever trains the rest."""

import shutil

import pytest
import torch

from consomme.families import family_named, load
from consomme.families.surgery import last_projections, sub, zero_heads
from consomme.train.freeze_pruned import freeze_zeroed_sublayers
from consomme.train.optimizers import TABLE
from consomme.train.stage import run


def silenced(place, parent, family, sublayer, head):
    """A copy of `parent` without one sublayer of its encoder and without one head elsewhere."""
    model = load(parent)
    with torch.no_grad():
        for parameter in last_projections(model, family.stacks["encoder"])[sublayer].parameters():
            parameter.zero_()
    zero_heads(model, family, {"encoder.self": {head[0]: [head[1]]}})
    folder = place / "silenced"
    shutil.copytree(parent, folder)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("optim", TABLE)
def test_zeroed_parts_stay_zero(job, recogniser, tones, tmp_path, optim):
    if TABLE[optim].extra:
        pytest.importorskip(TABLE[optim].extra)
    family = family_named("ctc")
    kinds = list(family.stacks["encoder"].sublayers)
    parent = silenced(tmp_path, recogniser, family, kinds.index("convolution"), (1, 0))
    made = job(tmp_path, parent, {"tones": tones}, max_steps=3, optim=optim, weight_decay=0.1, learning_rate=1e-2)
    run(made)
    before, after = load(parent), load(made.out)
    first = last_projections(after, family.stacks["encoder"])
    assert not any(p.any() for p in first[kinds.index("convolution")].parameters())
    out = sub(after.wav2vec2_bert.encoder.layers[1], family.stacks["encoder"].attentions["self"].path).linear_out.weight
    assert not out[:, :8].any()
    was = sub(
        before.wav2vec2_bert.encoder.layers[1], family.stacks["encoder"].attentions["self"].path
    ).linear_out.weight
    assert (out[:, 8:] != was[:, 8:]).any()
    assert (first[-1].weight != last_projections(before, family.stacks["encoder"])[-1].weight).any()


def test_nothing_is_frozen_where_nothing_was_zeroed(recogniser, translator):
    for folder, family in ((recogniser, "ctc"), (translator, "marian")):
        model = load(folder)
        assert freeze_zeroed_sublayers(model, family_named(family)) == 0
        assert all(p.requires_grad for p in model.parameters())


def test_a_sublayer_with_a_bias_still_says_something(recogniser):
    """A projection of zeros with a bias is none that pruning left."""
    family, model = family_named("ctc"), load(recogniser)
    first = last_projections(model, family.stacks["encoder"])[0]
    with torch.no_grad():
        first.weight.zero_()
        first.bias.fill_(1)
    assert freeze_zeroed_sublayers(model, family) == 0 and first.weight.requires_grad
