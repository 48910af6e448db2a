import copy

import pytest
import torch
import transformers

from consomme.common.errors import ConsommeError
from consomme.common.files import read_json
from consomme.families import load, surgery
from consomme.families.base import value_of


def logits(model, batch):
    with torch.no_grad():
        return model(**batch).logits


def some_heads(tiny):
    return {name: {0: [1], 1: [0, 3]} for name in surgery.heads(tiny.model, tiny.family)}


def kept(tiny):
    return {side: [0, 2] for side in tiny.family.stacks}


def skipped(layer):
    """The layer's forward that leaves the states as they are; a position bias beside them is handed on."""
    forward = layer.forward

    def skip(hidden_states, *args, **kwargs):
        output = forward(hidden_states, *args, **kwargs)
        return (hidden_states, *output[1:]) if isinstance(output, tuple) else hidden_states

    return skip


@pytest.mark.parametrize("chosen", [[0, 2], [1, 2]])
def test_keeping_layers_equals_skipping_the_others(tiny, chosen):
    """Known answer: hooks make the dropped layers the identity in the whole model. The first layer goes too, which in
    some architectures owns what all layers use."""
    whole, pruned = copy.deepcopy(tiny.model), copy.deepcopy(tiny.model)
    surgery.keep_layers(pruned, tiny.family, {side: list(chosen) for side in tiny.family.stacks})
    for side in tiny.family.stacks:
        for i, layer in enumerate(surgery.layers(whole, tiny.family.stacks[side])):
            if i not in chosen:
                layer.forward = skipped(layer)
    assert torch.equal(logits(whole, tiny.batch), logits(pruned, tiny.batch))
    assert not torch.equal(logits(tiny.model, tiny.batch), logits(pruned, tiny.batch))


@pytest.mark.parametrize("chosen", [[0, 2], [1, 2]])
def test_a_pruned_checkpoint_is_plain(tiny, tmp_path, chosen):
    before = tiny.model.config.to_dict()
    pruned = surgery.keep_layers(
        copy.deepcopy(tiny.model), tiny.family, {side: list(chosen) for side in tiny.family.stacks}
    )
    pruned.save_pretrained(tmp_path)
    plain = getattr(transformers, tiny.family.architecture).from_pretrained(tmp_path).eval()
    assert torch.equal(logits(plain, tiny.batch), logits(pruned, tiny.batch))
    decoding = {} if tiny.family.objective == "ctc" else {"max_new_tokens": 8, "num_beams": 2}
    said = [tiny.family.generate(m, tiny.processor, tiny.inputs, tiny.languages, decoding) for m in (pruned, plain)]
    assert said[0] == said[1]  # layer numbers in memory serve the cache as those of a fresh load do
    assert tiny.model.config.to_dict() == before
    stack = tiny.family.stacks["encoder"]
    assert value_of(read_json(tmp_path / "config.json"), stack.count) == 2 == len(surgery.layers(plain, stack))


def test_models_of_one_config_object_stay_apart(tiny):
    kind = type(tiny.model)
    config = copy.deepcopy(tiny.model.config)
    one, other = kind(config), kind(config)
    surgery.keep_layers(one, tiny.family, {"encoder": [1]})
    stack = tiny.family.stacks["encoder"]
    assert value_of(one.config, stack.count) == 1
    assert value_of(other.config, stack.count) == len(surgery.layers(other, stack))


def test_cut_heads_compute_what_zeroed_heads_compute(tiny, tmp_path):
    gone = some_heads(tiny)
    if tiny.family.no_slicing(tiny.model.config):
        check_zeroed_heads_are_silent(tiny, gone)
        return
    sliced = surgery.slice_heads(copy.deepcopy(tiny.model), tiny.family, gone)
    zeroed = surgery.zero_heads(copy.deepcopy(tiny.model), tiny.family, gone)
    torch.testing.assert_close(logits(sliced, tiny.batch), logits(zeroed, tiny.batch), rtol=1e-4, atol=1e-4)
    assert (logits(sliced, tiny.batch) - logits(tiny.model, tiny.batch)).abs().max() > 1e-3
    assert all(counts[:2] == [3, 2] for counts in surgery.heads(sliced, tiny.family).values())
    assert sum(p.numel() for p in sliced.parameters()) < sum(p.numel() for p in zeroed.parameters())

    sliced.save_pretrained(tmp_path / "sliced")
    again = load(tmp_path / "sliced")
    assert torch.equal(logits(again, tiny.batch), logits(sliced, tiny.batch))
    assert again.config.pruned_heads == sliced.config.pruned_heads
    decoding = {} if tiny.family.objective == "ctc" else {"max_new_tokens": 8}
    said = [tiny.family.generate(m, tiny.processor, tiny.inputs, tiny.languages, decoding) for m in (again, zeroed)]
    assert said[0] == said[1]

    twin = surgery.stock_twin(tmp_path / "sliced", tiny.family)
    twin.save_pretrained(tmp_path / "twin")
    plain = getattr(transformers, tiny.family.architecture).from_pretrained(tmp_path / "twin").eval()
    assert torch.equal(logits(plain, tiny.batch), logits(zeroed, tiny.batch))
    assert "pruned_heads" not in read_json(tmp_path / "twin" / "config.json")


def check_zeroed_heads_are_silent(tiny, gone):
    """Where heads can't be cut: whatever the queries, keys and values of silenced heads are, nobody hears it."""
    with pytest.raises(ConsommeError, match="can't be cut out"):
        surgery.slice_heads(tiny.model, tiny.family, gone)
    zeroed = surgery.zero_heads(copy.deepcopy(tiny.model), tiny.family, gone)
    before = logits(zeroed, tiny.batch)
    assert (before - logits(tiny.model, tiny.batch)).abs().max() > 1e-3
    for name, modules in surgery.attentions(zeroed, tiny.family).items():
        attention = next(a for n, _, a in surgery.groups(tiny.family) if n == name)
        for layer, heads in gone[name].items():
            weight = surgery.sub(modules[layer], attention.value).weight
            size = len(weight) // surgery.sub(modules[layer], attention.heads)
            for head in heads:
                weight.data[head * size : (head + 1) * size] = 1.0
    assert torch.equal(logits(zeroed, tiny.batch), before)


def test_cutting_twice_and_dropping_layers_keep_the_numbers_right(tiny, tmp_path):
    if tiny.family.no_slicing(tiny.model.config):
        pytest.skip("its heads can't be cut")
    names = list(surgery.heads(tiny.model, tiny.family))
    model = surgery.slice_heads(copy.deepcopy(tiny.model), tiny.family, {n: {2: [0, 2]} for n in names})
    surgery.slice_heads(model, tiny.family, {n: {2: [1]} for n in names})  # the second of 1 and 3
    assert model.config.pruned_heads == {n: {"2": [0, 2, 3]} for n in names}
    surgery.keep_layers(model, tiny.family, kept(tiny))
    assert model.config.pruned_heads == {n: {"1": [0, 2, 3]} for n in names}
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(load(tmp_path), tiny.batch), logits(model, tiny.batch))


def test_impossible_selections_are_refused(tiny):
    model = copy.deepcopy(tiny.model)
    name = next(iter(surgery.heads(model, tiny.family)))
    reason = tiny.family.no_slicing(model.config)
    for cut in (surgery.zero_heads,) if reason else (surgery.slice_heads, surgery.zero_heads):
        with pytest.raises(ConsommeError, match="a sublayer keeps at least one"):
            cut(model, tiny.family, {name: {0: [0, 1, 2, 3]}})
        with pytest.raises(ConsommeError, match="heads 1 to 4, not 5"):
            cut(model, tiny.family, {name: {0: [4]}})
        with pytest.raises(ConsommeError, match=r"has no encoder\.cross"):
            cut(model, tiny.family, {"encoder.cross": {0: [1]}})
    for wrong in ([], [1, 0], [0, 0], [99], [-1]):
        with pytest.raises(ConsommeError, match="can't keep layers"):
            surgery.keep_layers(model, tiny.family, {"encoder": wrong})
    assert torch.equal(logits(model, tiny.batch), logits(tiny.model, tiny.batch))


def test_alignment_heads_follow_layers_and_heads(folders, bundle, tmp_path):
    tiny = bundle("whisper", folders("whisper"))
    tiny.model.generation_config.alignment_heads = [[0, 1], [1, 2], [2, 1], [2, 3]]
    model = surgery.keep_layers(copy.deepcopy(tiny.model), tiny.family, {"decoder": [0, 2]})
    assert model.generation_config.alignment_heads == [[0, 1], [1, 1], [1, 3]]
    surgery.slice_heads(model, tiny.family, {"decoder.cross": {0: [1], 1: [2]}})
    assert model.generation_config.alignment_heads == [[1, 1], [1, 2]]
    model.save_pretrained(tmp_path)
    assert load(tmp_path).generation_config.alignment_heads == [[1, 1], [1, 2]]
    surgery.keep_layers(model, tiny.family, {"decoder": [0]})
    assert model.generation_config.alignment_heads is None
    assert tiny.model.generation_config.alignment_heads == [[0, 1], [1, 2], [2, 1], [2, 3]]


@pytest.mark.parametrize("kind", ["relative_key", "relative", "rotary"])
def test_position_embeddings_of_ctc(folders, bundle, kind):
    tiny = bundle("ctc", folders("ctc", position_embeddings_type=kind))
    zeroed = surgery.zero_heads(copy.deepcopy(tiny.model), tiny.family, {"encoder.self": {0: [1]}})
    if kind == "relative_key":
        sliced = surgery.slice_heads(tiny.model, tiny.family, {"encoder.self": {0: [1]}})
        torch.testing.assert_close(logits(sliced, tiny.batch), logits(zeroed, tiny.batch), rtol=1e-4, atol=1e-4)
    else:
        with pytest.raises(ConsommeError, match=f"position_embeddings_type is {kind}"):
            surgery.slice_heads(tiny.model, tiny.family, {"encoder.self": {0: [1]}})


def test_layers_left_out_for_a_step_are_those_that_pruning_takes(tiny):
    """Layer drop in training, in every family: what it computes without some layers is the model pruned to the others. A
    first layer that the others need is never left out."""
    from consomme.train.layer_drop import LayerDrop

    sides = list(tiny.family.stacks)
    settings = {f"{side}_layerdrop": 0.6 for side in sides}
    drop = LayerDrop(settings, tiny.model, tiny.family, seed=1, total=10)
    seen = set()
    for step in range(12):
        stacks = {side: list(surgery.layers(tiny.model, tiny.family.stacks[side])) for side in sides}
        with drop.dropping(step):
            there = {side: list(surgery.layers(tiny.model, tiny.family.stacks[side])) for side in sides}
            found = logits(tiny.model, tiny.batch)
        stay = {side: [i for i, layer in enumerate(stacks[side]) if layer in there[side]] for side in sides}
        if tiny.family.stacks[sides[0]].anchored:
            assert all(0 in layers for layers in stay.values())
        if all(stay.values()):
            pruned = surgery.keep_layers(copy.deepcopy(tiny.model), tiny.family, stay)
            assert torch.equal(found, logits(pruned, tiny.batch))
            seen.add(str(stay))
    assert len(seen) > 1
