"""Dropped layers that are merged into those that stay: known answers by construction, and the formulas in every family."""

import copy
import json

import pytest
import torch

from consomme.common.errors import ConsommeError
from consomme.common.job import parse
from consomme.families import family_named, load, surgery
from consomme.prune.choosers import TABLE as CHOOSERS
from consomme.prune.choosers.base import Question
from consomme.prune.merging import Merging, groups
from consomme.prune.search import Search
from consomme.prune.stage import run
from consomme.prune.sublayers import keep_sublayers


def merged(model, family, way, kept, dtype="F32"):
    """A copy of the model with these layers of each side, into which the others are merged."""
    return Merging(dict.fromkeys(kept, way), dtype).keep_layers(copy.deepcopy(model), family, kept)


def same(one, other):
    """Whether two models have the same weights, to the bit."""
    found = [model.state_dict() for model in (one, other)]
    return found[0].keys() == found[1].keys() and all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def filled(translator, values):
    """The translator with one value for all weights of each decoder layer."""
    model = load(translator)
    for layer, value in zip(model.model.decoder.layers, values, strict=True):
        for weight in layer.parameters():
            torch.nn.init.constant_(weight, value)
    return model


def values(model):
    """The one value of the weights of each decoder layer."""
    found = [{w for p in layer.parameters() for w in p.unique().tolist()} for layer in model.model.decoder.layers]
    assert all(len(layer) == 1 for layer in found)
    return [layer.pop() for layer in found]


@pytest.mark.parametrize(
    ("kept", "depth", "found"),
    [
        ([0, 2], 4, [(0, 1), (2, 3)]),
        ([2], 4, [(2, 0, 1, 3)]),
        ([1, 2, 5], 6, [(1, 0), (2, 3, 4), (5,)]),
        ([0, 1], 2, [(0,), (1,)]),
    ],
)
def test_a_group_reaches_to_the_next_kept_layer_and_the_first_one_takes_what_is_before_it(kept, depth, found):
    assert groups(kept, depth) == found


@pytest.mark.parametrize(
    ("way", "kept", "expected"),
    [
        ("mean", [0], [4.0]),
        ("mean", [0, 1], [1.0, 5.5]),
        ("mean", [1, 2], [1.5, 9.0]),
        ("laco", [0], [10.0]),  # 1 + (2 - 1) + (9 - 1)
        ("laco", [1], [8.0]),  # 2 + (1 - 2) + (9 - 2)
        ("laco", [0, 1], [1.0, 9.0]),  # of two, the other
    ],
)
def test_layers_of_one_value_each(translator, way, kept, expected):
    model = filled(translator, [1.0, 2.0, 9.0])
    found = merged(model, family_named("marian"), way, {"decoder": kept})
    assert values(found) == expected and found.config.decoder_layers == len(kept)
    assert values(model) == [1.0, 2.0, 9.0]


def test_sums_are_rounded_once(translator):
    """By way of float32, 1 + 2^-8 + 2^-40 would lie exactly between two bfloat16 and be rounded to the even one, 1."""
    model = filled(translator, [-(2.0**-40), 1.0, 2.0**-8])
    assert values(merged(model, family_named("marian"), "laco", {"decoder": [0]}, "BF16")) == [1 + 2.0**-7]


def formula(way, kept, dropped):
    kept, dropped = kept.double(), [weight.double() for weight in dropped]
    if way == "laco":
        return kept + torch.stack([weight - kept for weight in dropped]).sum(0)
    return torch.stack([kept, *dropped]).mean(0)


@pytest.mark.parametrize("way", ["mean", "laco"])
def test_every_weight_of_every_family_is_that_of_the_formula(tiny, way):
    """The first layer goes too, which in some architectures owns what all layers use."""
    kept = {side: [1, 2] for side in tiny.family.stacks}
    found = merged(tiny.model, tiny.family, way, kept)
    for stack in tiny.family.stacks.values():
        before = [layer.state_dict() for layer in surgery.layers(tiny.model, stack)]
        after = [layer.state_dict() for layer in surgery.layers(found, stack)]
        for new, group in zip(after, [[1, 0], [2, *range(3, len(before))]], strict=True):
            first, *others = (before[n] for n in group)
            shared = [name for name in new if others and all(name in layer for layer in (first, *others))]
            assert not others or len(shared) > 7
            for name in shared:
                how = "mean" if name.endswith(("running_mean", "running_var")) else way
                counted = name.endswith("num_batches_tracked")
                wanted = first[name] if counted else formula(how, first[name], [layer[name] for layer in others])
                torch.testing.assert_close(new[name].double(), wanted.double(), rtol=1e-6, atol=1e-7)
    with torch.no_grad():
        logits = found(**tiny.forward).logits
        assert logits.isfinite().all()
        assert not torch.equal(
            logits, surgery.keep_layers(copy.deepcopy(tiny.model), tiny.family, kept)(**tiny.forward).logits
        )


def test_layers_that_are_all_equal_stay_as_they_are(tiny):
    model = copy.deepcopy(tiny.model)
    for stack in tiny.family.stacks.values():
        first, *others = surgery.layers(model, stack)
        for layer in others:
            layer.load_state_dict(
                {**layer.state_dict(), **{n: t for n, t in first.state_dict().items() if n in layer.state_dict()}}
            )
    kept = {side: [0, 2] for side in tiny.family.stacks}
    dropped = surgery.keep_layers(copy.deepcopy(model), tiny.family, kept)
    assert same(merged(model, tiny.family, "mean", kept), dropped)
    assert same(merged(model, tiny.family, "laco", kept), dropped)


def chosen(folder):
    return json.loads((folder / "provenance.json").read_text())["chosen"]["layers"]


@pytest.mark.parametrize("way", ["mean", "laco"])
def test_the_whole_stage_on_a_translator(job, tmp_path, translator, way, capsys):
    layers = {"encoder": {"keep": [2, 4]}, "decoder": {"drop": "1/3", "by": "uniform", "merge": way}}
    run(parse(job(layers=layers), ""))
    assert chosen(tmp_path / "pruned") == {"encoder": {"kept": [2, 4], "dropped": [1, 3]},
                                           "decoder": {"kept": [1, 3], "dropped": [2], "merge": way}}  # fmt: skip
    assert f"decoder: kept layers [1, 3] of 3; the others were merged into them by {way}" in capsys.readouterr().err
    family = family_named("marian")
    expected = merged(load(translator), family, way, {"decoder": [0, 2]})
    surgery.keep_layers(expected, family, {"encoder": [1, 3]})
    assert same(load(tmp_path / "pruned"), expected)
    assert not (tmp_path / "cache").exists()


def test_the_whole_stage_on_a_recogniser_with_batch_norms(job, tmp_path, folders):
    folder = folders("parakeet")
    run(parse(job(parent=folder, layers={"encoder": {"drop": [2, 3, 4], "merge": "mean"}}), ""))
    assert chosen(tmp_path / "pruned") == {"encoder": {"kept": [1], "dropped": [2, 3, 4], "merge": "mean"}}
    assert same(load(tmp_path / "pruned"), merged(load(folder), family_named("parakeet"), "mean", {"encoder": [0]}))


def test_a_search_judges_each_candidate_merged(job, tmp_path, translator):
    """The values in the trace are those of models that were merged by hand, with states kept and without."""
    from consomme.evaluate.judge import Judge

    family, merging, found = family_named("marian"), Merging({"decoder": "mean"}), []
    for limit in (2**30, 0):
        judge = Judge(parse(job(cache=tmp_path / f"{limit}"), ""), {"t": translator}, "loss")
        search = Search(load(translator), family, "decoder", {}, judge, limit, merging)
        settings = CHOOSERS["greedy"].settings(swaps=True)
        CHOOSERS["greedy"].choose(Question(3, 2, objective=search, near=search.near, settings=settings))
        found.append({kept: value for kept, value, *_ in search.asked})
    assert found[0] == found[1] and len(found[0]) == 6
    for kept, value in found[0].items():
        judge = Judge(parse(job(cache=tmp_path / "other"), ""), {"t": translator}, "loss")
        assert judge.objective(merged(load(translator), family, "mean", {"decoder": kept})) == value
        assert judge.objective(surgery.keep_layers(load(translator), family, {"decoder": kept})) != value
    run(parse(job(layers={"decoder": {"drop": "1/3", "by": "greedy", "merge": "mean"}}), ""))
    side = chosen(tmp_path / "pruned")["decoder"]
    best = max((kept for kept in found[0] if len(kept) == 2), key=lambda kept: found[0][kept])
    assert side["kept"] == [n + 1 for n in best] and side["trace"][0]["objective"] == -found[0][best]


def test_a_search_on_the_decoder_sees_the_encoder_merged(job, translator):
    from consomme.evaluate.judge import Judge

    judge = Judge(parse(job(), ""), {"t": translator}, "loss")
    family, model = family_named("marian"), load(translator)
    with torch.no_grad():  # alive, so that layers are alike
        model.model.encoder.layers[1].self_attn.out_proj.weight.add_(1e-3)
    merging, cut = Merging({"encoder": "mean"}), {"encoder": [0, 2]}
    seen = Search(model, family, "decoder", cut, judge, merging=merging)([0, 1])
    assert seen == judge.objective(surgery.keep_layers(merged(model, family, "mean", cut), family, {"decoder": [0, 1]}))


# -- what an earlier pruning left --------------------------------------------------------------------------------------
def test_layers_that_lost_different_numbers_of_heads_are_not_merged(translator):
    family = family_named("marian")
    model = surgery.slice_heads(load(translator), family, {"decoder.cross": {0: [1], 1: [0, 2], 2: [3]}})
    with pytest.raises(
        ConsommeError, match=r"layers.decoder.merge: layers 1 and 2 have different shapes, .*Merge layers first"
    ):
        merged(model, family, "mean", {"decoder": [0]})
    alike = surgery.slice_heads(load(translator), family, {"decoder.cross": {0: [1], 1: [0], 2: [0]}})
    found = merged(alike, family, "mean", {"decoder": [0]})
    assert found.config.pruned_heads == {"decoder.cross": {"0": [1]}}


def test_what_was_zeroed_does_not_come_back_in_part(translator):
    family, model = family_named("marian"), load(translator)
    keep_sublayers(
        model, family, {"decoder": [0, 1, 2, 3, 4, 6, 7]}
    )  # without the second and third feed-forward sublayers
    with pytest.raises(
        ConsommeError, match=r"layers 1 and 2 differ in what an earlier pruning set to zero \(feed_forward\)"
    ):
        merged(model, family, "laco", {"decoder": [0, 2]})
    found = merged(model, family, "mean", {"decoder": [0, 1]})  # both of a group are zero: it stays so
    assert [surgery.is_zeroed(p) for p in surgery.last_projections(found, family.stacks["decoder"])] == [False] * 5 + [
        True
    ]
    with pytest.raises(ConsommeError, match=r"head 4 of encoder.self"):
        merged(load(translator), family, "mean", {"encoder": [0, 2]})


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"keep": [1], "merge": "men"}, "layers.decoder.merge: 'men' given .*did you mean 'mean'.*allowed: mean, laco"),
        ({"keep": [9], "merge": "mean"}, "there is no layer 9"),
    ],
)
def test_what_can_not_be_done_is_said_and_nothing_is_written(job, tmp_path, plan, message):
    with pytest.raises(ConsommeError, match=message):
        run(parse(job(layers={"decoder": plan}), ""))
    assert not (tmp_path / "pruned").exists()


def test_a_sum_too_large_for_the_stored_dtype_is_refused(translator):
    model = filled(translator, [1.0, 60000.0, 60000.0])
    with pytest.raises(ConsommeError, match="larger than F16 can hold"):
        merged(model, family_named("marian"), "laco", {"decoder": [0]}, "F16")
    assert values(merged(model, family_named("marian"), "mean", {"decoder": [0]}, "F16")) == [
        40000.0
    ]  # of the multiples of 32
