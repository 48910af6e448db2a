import copy
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from consomme.common.errors import ConsommeError
from consomme.common.files import read_json
from consomme.families import load, surgery, units
from consomme.families.base import value_of
from consomme.prune.scores import TABLE
from consomme.prune.scores.base import Subject
from consomme.prune.search import shared_copy
from consomme.prune.sublayers import keep_sublayers


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
    assert torch.equal(logits(whole, tiny.forward), logits(pruned, tiny.forward))
    assert not torch.equal(logits(tiny.model, tiny.forward), logits(pruned, tiny.forward))


@pytest.mark.parametrize("chosen", [[0, 2], [1, 2]])
def test_a_pruned_checkpoint_is_plain(tiny, tmp_path, chosen):
    before = tiny.model.config.to_dict()
    pruned = surgery.keep_layers(
        copy.deepcopy(tiny.model), tiny.family, {side: list(chosen) for side in tiny.family.stacks}
    )
    pruned.save_pretrained(tmp_path)
    plain = getattr(transformers, tiny.family.architecture).from_pretrained(tmp_path).eval()
    assert torch.equal(logits(plain, tiny.forward), logits(pruned, tiny.forward))
    decoding = {} if tiny.family.objective != "seq2seq" else {"max_new_tokens": 8, "num_beams": 2}
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
    torch.testing.assert_close(logits(sliced, tiny.forward), logits(zeroed, tiny.forward), rtol=1e-4, atol=1e-4)
    assert (logits(sliced, tiny.forward) - logits(tiny.model, tiny.forward)).abs().max() > 1e-3
    assert all(counts[:2] == [3, 2] for counts in surgery.heads(sliced, tiny.family).values())
    assert sum(p.numel() for p in sliced.parameters()) < sum(p.numel() for p in zeroed.parameters())

    sliced.save_pretrained(tmp_path / "sliced")
    again = load(tmp_path / "sliced")
    assert torch.equal(logits(again, tiny.forward), logits(sliced, tiny.forward))
    assert again.config.pruned_heads == sliced.config.pruned_heads
    decoding = {} if tiny.family.objective != "seq2seq" else {"max_new_tokens": 8}
    said = [tiny.family.generate(m, tiny.processor, tiny.inputs, tiny.languages, decoding) for m in (again, zeroed)]
    assert said[0] == said[1]

    zeroed = surgery.zeroed_copy(tmp_path / "sliced", tiny.family)
    zeroed.save_pretrained(tmp_path / "zeroed")
    plain = getattr(transformers, tiny.family.architecture).from_pretrained(tmp_path / "zeroed").eval()
    assert torch.equal(logits(plain, tiny.forward), logits(zeroed, tiny.forward))
    assert "pruned_heads" not in read_json(tmp_path / "zeroed" / "config.json")


def check_zeroed_heads_are_silent(tiny, gone):
    """Where heads can't be cut: whatever the queries, keys and values of silenced heads are, nobody hears it."""
    with pytest.raises(ConsommeError, match="can't be cut out"):
        surgery.slice_heads(tiny.model, tiny.family, gone)
    zeroed = surgery.zero_heads(copy.deepcopy(tiny.model), tiny.family, gone)
    before = logits(zeroed, tiny.forward)
    assert (before - logits(tiny.model, tiny.forward)).abs().max() > 1e-3
    for name, modules in surgery.attentions(zeroed, tiny.family).items():
        attention = next(a for n, _, a in surgery.groups(tiny.family) if n == name)
        for layer, heads in gone[name].items():
            weight = surgery.sub(modules[layer], attention.value).weight
            size = len(weight) // surgery.sub(modules[layer], attention.heads)
            for head in heads:
                weight.data[head * size : (head + 1) * size] = 1.0
    assert torch.equal(logits(zeroed, tiny.forward), before)


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
    assert torch.equal(logits(load(tmp_path), tiny.forward), logits(model, tiny.forward))


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
    assert torch.equal(logits(model, tiny.forward), logits(tiny.model, tiny.forward))


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
        torch.testing.assert_close(logits(sliced, tiny.forward), logits(zeroed, tiny.forward), rtol=1e-4, atol=1e-4)
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
            found = logits(tiny.model, tiny.forward)
        stay = {side: [i for i, layer in enumerate(stacks[side]) if layer in there[side]] for side in sides}
        if tiny.family.stacks[sides[0]].anchored:
            assert all(0 in layers for layers in stay.values())
        if all(stay.values()):
            pruned = surgery.keep_layers(copy.deepcopy(tiny.model), tiny.family, stay)
            assert torch.equal(found, logits(pruned, tiny.forward))
            seen.add(str(stay))
    assert len(seen) > 1


def some_neurons(tiny, model):
    """Others from every part, as many from each."""
    generator = torch.Generator().manual_seed(5)
    found = units.parts(model, tiny.family, units.NEURONS)
    return {
        group: [torch.randperm(part.count, generator=generator)[:7].tolist() for part in by]
        for group, by in found.items()
    }


def silenced(tiny, model, gone):
    """Known answer: the model with nothing heard of these neurons."""
    for group, by in units.parts(model, tiny.family, units.NEURONS).items():
        for part, lost in zip(by, gone[group], strict=True):
            part.down.weight.data[:, lost] = 0
    return model


def test_a_narrowed_checkpoint_is_plain(tiny, tmp_path):
    """The stock class loads it, to the bit; it computes what the whole model does without those neurons, but for the order
    of sums. Each width is one number of the config."""
    before = tiny.model.config.to_dict()
    gone = some_neurons(tiny, tiny.model)
    assert {group.partition(".")[0] for group in gone} == set(tiny.family.stacks)
    narrow = units.narrow(copy.deepcopy(tiny.model), tiny.family, gone)
    quiet = silenced(tiny, copy.deepcopy(tiny.model), gone)
    torch.testing.assert_close(logits(narrow, tiny.forward), logits(quiet, tiny.forward), rtol=1e-4, atol=1e-4)
    assert (logits(narrow, tiny.forward) - logits(tiny.model, tiny.forward)).abs().max() > 1e-3

    narrow.save_pretrained(tmp_path)
    plain = getattr(transformers, tiny.family.architecture).from_pretrained(tmp_path).eval()
    assert torch.equal(logits(plain, tiny.forward), logits(narrow, tiny.forward))
    decoding = {} if tiny.family.objective != "seq2seq" else {"max_new_tokens": 8, "num_beams": 2}
    said = [tiny.family.generate(m, tiny.processor, tiny.inputs, tiny.languages, decoding) for m in (narrow, plain)]
    assert said[0] == said[1]
    config = read_json(tmp_path / "config.json")
    assert {value_of(config, stack.width) for stack in tiny.family.stacks.values()} == {32 - 7}
    assert tiny.model.config.to_dict() == before
    trained = sum(p.numel() for p in narrow.parameters())
    assert trained < sum(p.numel() for p in tiny.model.parameters())


def test_a_narrowed_model_without_heads_and_layers_loads(tiny, tmp_path):
    """Layers, then heads, then neurons: the sliced checkpoint loads, and its zeroed copy in the stock shape is as narrow."""
    model = surgery.keep_layers(copy.deepcopy(tiny.model), tiny.family, kept(tiny))
    if not tiny.family.no_slicing(model.config):
        surgery.slice_heads(model, tiny.family, some_heads(tiny))
    units.narrow(model, tiny.family, some_neurons(tiny, model))
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(load(tmp_path), tiny.forward), logits(model, tiny.forward))
    if tiny.family.no_slicing(model.config):
        return
    surgery.zeroed_copy(tmp_path, tiny.family).save_pretrained(tmp_path / "zeroed")
    plain = getattr(transformers, tiny.family.architecture).from_pretrained(tmp_path / "zeroed").eval()
    torch.testing.assert_close(logits(plain, tiny.forward), logits(model, tiny.forward), rtol=1e-4, atol=1e-4)


def test_parts_of_one_width_lose_equally_many_neurons(tiny):
    gone = some_neurons(tiny, tiny.model)
    group = next(iter(gone))
    shapes = [p.shape for p in tiny.model.parameters()]
    for wrong in ({group: [[0]] + [[0, 1]] * (len(gone[group]) - 1)}, {group: [list(range(32))] * len(gone[group])}):
        with pytest.raises(ConsommeError, match="the config has one number for all of them"):
            units.narrow(tiny.model, tiny.family, {**gone, **wrong})
    assert [p.shape for p in tiny.model.parameters()] == shapes


class Two:
    """Two development rows."""

    lengths = np.array([2.0, 1.0])

    def __init__(self, sources):
        self.sources = sources

    def __len__(self):
        return 2

    def source(self, i):
        return self.sources[i]

    def target(self, i):
        return ["le chat", "hello"][i]

    def languages(self, default):
        return [tuple(default)] * 2


def test_neurons_that_nobody_hears_score_zero(tiny, noise):
    """In every family, those whose heads can't be masked included; the scores leave the model as it was."""
    speech = tiny.family.task == "asr"
    sources = [noise(16000, 1), noise(9000, 2)] if speech else ["the cat sat on a mat", "hello"]
    rows = Two(sources)
    gone = some_neurons(tiny, tiny.model)
    quiet = silenced(tiny, copy.deepcopy(tiny.model), gone)
    subject = Subject(quiet, tiny.family, tiny.processor, [(rows, 1.0)], tiny.languages, of="neurons")
    before, scores = logits(quiet, tiny.forward), TABLE["taylor"].score(subject)
    for group, by in gone.items():
        for lost, values in zip(by, scores[group], strict=True):
            assert all(values[n] == 0 for n in lost) and sum(v > 0 for v in values) > 8
    assert torch.equal(logits(quiet, tiny.forward), before)


def test_gated_feed_forward_parts(folders, bundle, tmp_path):
    tiny = bundle("t5", folders("t5", feed_forward_proj="gated-gelu"))
    gone = some_neurons(tiny, tiny.model)
    assert [len(part.up) for part in units.parts(tiny.model, tiny.family, units.NEURONS)["decoder.feed_forward"]] == [
        2
    ] * 3
    narrow = units.narrow(copy.deepcopy(tiny.model), tiny.family, gone)
    quiet = silenced(tiny, copy.deepcopy(tiny.model), gone)
    torch.testing.assert_close(logits(narrow, tiny.forward), logits(quiet, tiny.forward), rtol=1e-4, atol=1e-4)
    narrow.save_pretrained(tmp_path)
    plain = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path).eval()
    assert torch.equal(logits(plain, tiny.forward), logits(narrow, tiny.forward))


def test_an_adapter_is_as_wide_as_the_layers_below_it(folders, bundle, tmp_path):
    """Wav2Vec2-BERT's adapter and the part before it have the layers' width in the config."""
    more = {"add_adapter": True, "num_adapter_layers": 2, "output_hidden_size": 16}
    tiny = bundle("ctc", folders("ctc", use_intermediate_ffn_before_adapter=True, **more))
    gone = some_neurons(tiny, tiny.model)
    assert {group: len(by) for group, by in gone.items()} == {
        "encoder.feed_forward1": 4, "encoder.feed_forward2": 4, "encoder.before_adapter": 1, "encoder.adapter": 2}  # fmt: skip
    narrow = units.narrow(copy.deepcopy(tiny.model), tiny.family, gone)
    quiet = silenced(tiny, copy.deepcopy(tiny.model), gone)
    torch.testing.assert_close(logits(narrow, tiny.forward), logits(quiet, tiny.forward), rtol=1e-4, atol=1e-4)
    narrow.save_pretrained(tmp_path)
    plain = transformers.Wav2Vec2BertForCTC.from_pretrained(tmp_path).eval()
    assert torch.equal(logits(plain, tiny.forward), logits(narrow, tiny.forward))


def states_past(model, stack, batch):
    """For each layer the states that enter it and those that leave it."""
    seen = []

    def watch(module, arguments, named, output):
        given = arguments[0] if arguments else named["hidden_states"]
        seen.append((given, output[0] if isinstance(output, tuple) else output))

    handles = [m.register_forward_hook(watch, with_kwargs=True) for m in surgery.layers(model, stack)]
    logits(model, batch)
    for handle in handles:
        handle.remove()
    return seen


def test_a_sublayer_without_its_last_projection_adds_nothing(tiny):
    """A layer whose sublayers are all silent hands its states on: its norms, where they stand on the way, are set to norm
    again what is normed. So no sublayer was forgotten."""
    still = copy.deepcopy(tiny.model)
    for stack in tiny.family.stacks.values():
        for layer in surgery.layers(still, stack):
            for path in stack.sublayers.values():
                silence(surgery.sub(layer, path))
            for module in layer.modules():
                if isinstance(module, torch.nn.LayerNorm):
                    torch.nn.init.ones_(module.weight)
                    if module.bias is not None:
                        torch.nn.init.zeros_(module.bias)
    for stack in tiny.family.stacks.values():
        for before, after in states_past(still, stack, tiny.forward)[1:]:
            torch.testing.assert_close(before, after, rtol=1e-3, atol=1e-3)


def test_each_sublayer_goes_by_itself_and_a_layer_with_all_of_its(tiny):
    whole = logits(tiny.model, tiny.forward)
    for side, stack in tiny.family.stacks.items():
        count, depth = len(stack.sublayers), len(surgery.layers(tiny.model, stack))
        for kind in range(count):
            lone = shared_copy(tiny.model)
            there = [n for n in range(depth * count) if n != count + kind]
            assert keep_sublayers(lone, tiny.family, {side: there}) == ({side: list(range(depth))}, {side: 1})
            assert not torch.equal(logits(lone, tiny.forward), whole)
        gone = shared_copy(tiny.model)
        there = [n for n in range(depth * count) if n // count != 1]
        stay = [n for n in range(depth) if n != 1]
        assert keep_sublayers(gone, tiny.family, {side: there}) == ({side: stay}, {side: 0})
        cut = surgery.keep_layers(copy.deepcopy(tiny.model), tiny.family, {side: stay})
        assert torch.equal(logits(gone, tiny.forward), logits(cut, tiny.forward))
    assert torch.equal(logits(tiny.model, tiny.forward), whole)  # though the others share its tensors


def silence(linear):
    linear.weight.data.zero_()
    if linear.bias is not None:
        linear.bias.data.zero_()


PROBE = """
import json, sys, torch, transformers
from pathlib import Path
from safetensors.torch import load_file, save_file
torch.set_num_threads(1)
for folder in map(Path, sys.argv[1:]):
    config = json.loads((folder / "config.json").read_text())
    model = getattr(transformers, config["architectures"][0]).from_pretrained(folder).eval()
    batch = load_file(folder / "batch.safetensors")
    with torch.no_grad():
        found = {"logits": model(**batch).logits}
        if model.can_generate() and "decoder_input_ids" in batch:
            batch = {k: v for k, v in batch.items() if k not in ("decoder_input_ids", "labels")}
            more = {"forced_bos_token_id": None} if config["model_type"] in ("m2m_100", "mbart") else {}
            found["ids"] = model.generate(**batch, max_new_tokens=3, do_sample=False, **more)
    save_file({k: v.contiguous() for k, v in found.items()}, folder / "said.safetensors")
assert not any(name.startswith("consomme") for name in sys.modules)
"""


def test_pruned_checkpoints_answer_and_generate_without_this_package(every_family, bundle, folders, tmp_path):
    """In a fresh process, with transformers alone, every family: the same logits to the bit, and words."""
    expected = {}
    for name in every_family:
        found, place = bundle(name, folders(name)), tmp_path / name
        if found.family.objective == "transducer":
            continue  # its forward pass is over states of the decoder that only its own loss and search make
        pruned = surgery.keep_layers(found.model, found.family, {side: [0, 2] for side in found.family.stacks})
        pruned.save_pretrained(place)
        batch = {k: v for k, v in found.forward.items() if isinstance(v, torch.Tensor)}
        if found.family.objective == "seq2seq" and "decoder_input_ids" not in batch:
            batch["decoder_input_ids"] = found.family.decoder_inputs(pruned, batch["labels"])
        batch.pop("labels")
        save_file({k: v.contiguous() for k, v in batch.items()}, place / "batch.safetensors")
        expected[place] = logits(pruned.eval(), batch)
    command = [sys.executable, "-c", PROBE, *map(str, expected)]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=tmp_path)
    for place, wanted in expected.items():
        said = load_file(place / "said.safetensors")
        assert torch.equal(said["logits"], wanted), place.name
        assert "ids" not in said or said["ids"].shape[1] > 1, place.name
    assert sum("ids" in load_file(place / "said.safetensors") for place in expected) >= 6
