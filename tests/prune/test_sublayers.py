"""Sublayers as units: the identity goes first, whole layers leave, the rest is zeroed in the stock shape."""

import json
import subprocess
import sys

import pytest
import torch

from consomme.common.errors import ConsommeError
from consomme.common.job import parse
from consomme.families import family_named, load
from consomme.prune.choosers import TABLE as CHOOSERS
from consomme.prune.stage import run
from consomme.prune.sublayers import keep_sublayers, names

from .test_stage import PROBE, _chosen, _logits  # isort: skip

SEARCHES = [name for name, chooser in CHOOSERS.items() if chooser.searches and not chooser.layers_only]


def plan(by, drop, **more):
    return {"drop": drop, "by": by, "of": "sublayers", **more}


def test_units_are_counted_in_the_order_of_computation():
    assert names(family_named("marian").stacks["decoder"], 2) == [
        "1.self", "1.cross", "1.feed_forward", "2.self", "2.cross", "2.feed_forward"]  # fmt: skip
    assert names(family_named("parakeet").stacks["encoder"], 1) == [
        "1.feed_forward1", "1.self", "1.convolution", "1.feed_forward2"]  # fmt: skip


@pytest.mark.parametrize("by", SEARCHES)
def test_the_sublayer_that_adds_nothing_goes_first_and_costs_nothing(job, tmp_path, translator, by, capsys):
    """Both sublayers of the third layer add nothing: the first of equals goes, of draws any of the two. One of eight: draws
    are as many as greedy evaluates, which is all."""
    run(parse(job(layers={"encoder": plan(by, "1/8")}), ""))
    found = _chosen(tmp_path / "pruned")["layers"]["encoder"]
    (gone,) = found["sublayers"]["dropped"]
    assert gone in (["3.self", "3.feed_forward"] if by == "random_search" else ["3.self"])
    assert found["sublayers"]["of"] == 8 and found["sublayers"]["zeroed"] == 1
    assert found["kept"] == [1, 2, 3, 4] and found["dropped"] == []
    assert any(gone in (step.get("sublayer"), *step.get("sublayers", [])) for step in found["trace"])
    assert found["metric"] == "loss"
    assert "only zeroed, in the stock shape, and make the model no faster" in capsys.readouterr().err
    assert torch.equal(_logits(load(tmp_path / "pruned"), translator), _logits(load(translator), translator))


def test_sublayers_that_went_before_no_longer_count(job, tmp_path, translator):
    run(parse(job(name="once", layers={"encoder": plan("greedy", "1/8")}), ""))
    run(parse(job(name="twice", parent=tmp_path / "once", layers={"encoder": plan("greedy", "1/7")}), ""))
    found = _chosen(tmp_path / "twice")["layers"]["encoder"]
    assert found["sublayers"] == {"dropped": ["3.feed_forward"], "of": 7, "zeroed": 0}  # with 3.self the layer is gone
    assert found["kept"] == [1, 2, 4] and found["dropped"] == [3]
    assert found["trace"][0]["sublayer"] == "3.feed_forward"


def test_a_layer_that_loses_all_its_sublayers_leaves(job, tmp_path, translator):
    """The encoder's layer that is the identity: both of its sublayers go first, and with them the layer."""
    run(parse(job(layers={"encoder": plan("greedy", "1/4")}), ""))
    found = _chosen(tmp_path / "pruned")["layers"]["encoder"]
    assert found["sublayers"] == {"dropped": ["3.self", "3.feed_forward"], "of": 8, "zeroed": 0}
    assert found["kept"] == [1, 2, 4] and found["dropped"] == [3]
    small = load(tmp_path / "pruned")
    assert small.config.encoder_layers == 3
    torch.testing.assert_close(_logits(small, translator), _logits(load(translator), translator), rtol=1e-3, atol=1e-3)


def test_a_plain_checkpoint_of_the_same_output_to_the_bit(job, tmp_path, translator):
    """truncate: the last three of nine, which is a layer; the last four of eight and one of the layer below zeroed."""
    layers = {"encoder": plan("truncate", "5/8"), "decoder": {"drop": "1/3", "by": "truncate"}}
    run(parse(job(layers=layers), ""))
    folder = tmp_path / "pruned"
    found = _chosen(folder)["layers"]
    assert found["decoder"] == {"kept": [1, 2], "dropped": [3]}
    assert found["encoder"] == {"kept": [1, 2], "dropped": [3, 4],
                                "sublayers": {"dropped": ["2.feed_forward", "3.self", "3.feed_forward", "4.self", "4.feed_forward"],
                                              "of": 8, "zeroed": 1}}  # fmt: skip
    assert not (tmp_path / "cache").exists()
    expected = load(translator)
    keep_sublayers(expected, family_named("marian"), {"encoder": [0, 1, 2], "decoder": range(6)})
    done = subprocess.run([sys.executable, "-c", PROBE, folder], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout.splitlines()[-1]) == _logits(expected, translator).flatten().tolist()


def test_a_draw_depends_on_the_seed(job, tmp_path):
    for seed in (1, 2):
        layers = {"decoder": plan("random", "1/3")}
        run(parse(job(name=f"s{seed}", layers=layers, seed=seed, digest=f"seed{seed}"), ""))
    one, two = (_chosen(tmp_path / f"s{seed}")["layers"]["decoder"]["sublayers"]["dropped"] for seed in (1, 2))
    assert len(one) == len(two) == 3 and one != two


@pytest.mark.parametrize("by", ["similarity", "angular"])
def test_states_layers_only_say_nothing_of_sublayers(job, tmp_path, by):
    with pytest.raises(ConsommeError, match="looks at whole layers"):
        run(parse(job(layers={"encoder": plan(by, "1/4")}), ""))
    assert not (tmp_path / "pruned").exists()


def test_sublayers_of_a_model_that_lost_heads(job, tmp_path, translator):
    """And heads of one that lost sublayers: in a sublayer that adds nothing no head counts, and one stays."""
    import transformers

    run(parse(job(name="headless", heads={"drop": "1/4", "by": "magnitude"}), ""))
    run(parse(job(parent=tmp_path / "headless", layers={"encoder": plan("truncate", "3/8")}), ""))
    folder = tmp_path / "pruned"
    sliced, zeroed = load(folder), transformers.MarianMTModel.from_pretrained(folder / "zeroed").eval()
    assert sliced.config.encoder_layers == 3 and sliced.config.pruned_heads
    assert all(not t.any() for t in zeroed.model.encoder.layers[2].fc2.parameters())
    torch.testing.assert_close(_logits(sliced, translator), _logits(zeroed, translator), rtol=1e-4, atol=1e-4)

    layers = {"encoder": plan("greedy", "1/8")}
    run(parse(job(name="both", layers=layers, heads={"drop": "1/4", "by": "taylor"}), ""))
    found = _chosen(tmp_path / "both")
    assert found["layers"]["encoder"]["sublayers"]["dropped"] == ["3.self"]
    assert len(found["heads"]["removed"]["encoder.self"]["3"]) == 3
