"""Head importance against finite differences, and which heads go."""

import json

import numpy as np
import pytest
import torch

from consomme.common.errors import ConsommeError
from consomme.common.job import parse
from consomme.data.prepared import Rows
from consomme.families import family_named, load
from consomme.families.surgery import attentions
from consomme.prune import heads
from consomme.prune.layers import share
from consomme.prune.scores import TABLE, masks
from consomme.prune.scores.base import Subject
from consomme.prune.scores.taylor import taylor
from consomme.prune.stage import run

from .conftest import DEAF, PAIRS  # isort: skip


@pytest.fixture(scope="module")
def scored(translator, corpus):
    family, model = family_named("marian"), load(translator)
    processor, rows = family.processor(translator), Rows.open([corpus])
    return model, family, processor, rows, taylor(Subject(model, family, processor, [(rows, 1.0)], ["en", "fr"]))


def test_all_heads_are_scored(scored):
    assert {g: [len(v) for v in by] for g, by in scored[4].items()} == {
        "encoder.self": [4] * 4, "decoder.self": [4] * 3, "decoder.cross": [4] * 3}  # fmt: skip


def test_a_head_that_nobody_hears_scores_zero_and_goes_first(scored):
    found = scored[4]["encoder.self"]
    layer, head = DEAF
    assert found[layer][head] == 0
    assert all(v > 0 for n, v in enumerate(found[layer]) if n != head)
    gone = heads.choose(heads.normalised(scored[4]), share("1/4"))
    assert head in gone["encoder.self"][layer]


class Wrong:
    """The sentences with each other's translations: large losses, whose differences stand out of the rounding."""

    lengths = np.ones(len(PAIRS))

    def languages(self, default):
        return [tuple(default)] * len(PAIRS)

    def __len__(self):
        return len(PAIRS)

    def source(self, i):
        return PAIRS[i][0]

    def target(self, i):
        return PAIRS[i - 3][1]


def test_scores_are_the_derivative_by_the_head(scored):
    """The loss with one head turned up and down a little, utterance by utterance."""
    from consomme.evaluate.losses import seq2seq_nll

    model, family, processor, _, _ = scored
    found = taylor(Subject(model, family, processor, [(Wrong(), 1.0)], ["en", "fr"]))
    module = attentions(model, family)["decoder.cross"][1].out_proj
    size, head, step = module.in_features // 4, 2, 1e-2
    total = 0.0
    for i in range(len(PAIRS)):
        inputs, labels = (
            family.features(processor, Wrong().source(i)),
            family.labels(processor, Wrong().target(i), ["en", "fr"]),
        )
        batch = family.collate(processor, [inputs], [labels])
        losses = []
        for factor in (1 + step, 1 - step):
            weight = module.weight.detach().clone()
            with torch.no_grad():
                module.weight[:, head * size : (head + 1) * size] *= factor
                nll, tokens = seq2seq_nll(family, model, batch)
                module.weight.copy_(weight)
            losses.append(float(nll / tokens))
        total += abs(losses[0] - losses[1]) / (2 * step)
    assert found["decoder.cross"][1][head] == pytest.approx(total / len(PAIRS), rel=0.02)


def test_neither_batches_nor_a_second_time_change_the_scores(scored, monkeypatch):
    model, family, processor, rows, found = scored
    monkeypatch.setattr(masks, "BATCH", 3)
    again = taylor(Subject(model, family, processor, [(rows, 1.0)], ["en", "fr"]))
    for group, by in found.items():
        np.testing.assert_allclose(again[group], by, rtol=1e-3, atol=1e-7)
    assert all(p.requires_grad and p.grad is None for n, p in model.named_parameters() if "embed_positions" not in n)
    assert not any(m._forward_pre_hooks for m in model.modules())


class Noise:
    """Clips of different lengths."""

    lengths = np.array([48000, 16000, 9600, 40000, 12000, 20000, 8000, 32000])

    def __len__(self):
        return len(self.lengths)

    def source(self, i):
        return np.random.default_rng(i).standard_normal(self.lengths[i]).astype(np.float32)

    def target(self, i):
        return ["ab ba", "a b", "bab a", "ba"][i % 4]

    def languages(self, default):
        return [tuple(default)] * len(self)


@pytest.mark.parametrize(("name", "settings", "tokenizer"), [
    ("whisper", {}, {"vocab_size": 260}), ("moonshine", {}, {"vocab_size": 260}),
    ("wav2vec2", {"feat_extract_norm": "group"}, {})])  # fmt: skip
def test_no_utterance_hears_what_stands_beside_it(tmp_path, monkeypatch, name, settings, tokenizer):
    family = family_named(name)
    family.create(tmp_path, settings, tokenizer, lambda: iter(["ab ba", "a b", "bab a", "ba cab"] * 20), ["en"], seed=1)
    subject = Subject(load(tmp_path), family, family.processor(tmp_path, ["en"]), [(Noise(), 1.0)], ["en"])
    together = taylor(subject)
    monkeypatch.setattr(masks, "BATCH", 1)
    for group, by in taylor(subject).items():
        np.testing.assert_allclose(together[group], by, rtol=1e-3, atol=1e-6)


def test_heads_that_went_before_go_no_second_time():
    scores = {"a": [[0.0, 3.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0]], "b": [[0.0, 0.0, 5.0, 4.0]]}
    dead = {("a", 0, 0), ("b", 0, 0), ("b", 0, 1), *(("a", 1, head) for head in range(4))}
    assert heads.choose(scores, share("1/5"), dead=dead) == {"a": {0: [2]}}  # one of five
    assert heads.choose(scores, share("3/5"), dead=dead) == {"a": {0: [2, 3]}, "b": {0: [3]}}
    assert heads.choose(scores, share("1/2"), "layer", dead) == {"a": {0: [2, 3]}, "b": {0: [3]}}
    with pytest.raises(ConsommeError, match=r"of 5 heads are 4; each of the 2 attention modules keeps one"):
        heads.choose(scores, share("4/5"), dead=dead)


def test_zeroed_heads_stay_and_others_are_zeroed_next(tmp_path, job):
    """T5's heads can't be cut out."""
    family_named("t5").create(
        tmp_path / "t5",
        {},
        {"vocab_size": 40},
        lambda: iter([t for pair in PAIRS for t in pair] * 3),
        ["en", "fr"],
        1,
    )
    removed = []
    for parent, name in (("t5", "once"), ("once", "twice")):
        run(parse(job(name=name, parent=tmp_path / parent, heads={"drop": "1/4", "by": "taylor", "per": "model"}), ""))
        found = json.loads((tmp_path / name / "provenance.json").read_text())["chosen"]["heads"]
        removed.append({(g, n, h) for g, by in found["removed"].items() for n, heads_ in by.items() for h in heads_})
        assert len(removed[-1]) == round(found["of"] / 4) and not found["sliced"]
    first, second = removed
    assert first and second and not first & second


def test_sets_count_by_their_weight(scored):
    model, family, processor, rows, found = scored
    twice = taylor(Subject(model, family, processor, [(rows, 1.5), (rows, 0.5)], ["en", "fr"]))
    np.testing.assert_allclose(twice["decoder.self"], 2 * np.array(found["decoder.self"]), rtol=1e-4)


def test_leave_one_out_is_the_rise_of_the_loss_without_the_head(scored):
    """Against the loss of the model with that head's columns set to zero, and nothing for the head that nobody hears."""
    from consomme.evaluate.losses import seq2seq_nll

    model, family, processor, rows, _ = scored
    found = TABLE["leave_one_out"].score(Subject(model, family, processor, [(rows, 2.0)], ["en", "fr"]))
    layer, head = DEAF
    assert found["encoder.self"][layer][head] == 0
    inputs = [family.features(processor, s) for s, _ in PAIRS]
    batch = family.collate(processor, inputs, [family.labels(processor, t, ["en", "fr"]) for _, t in PAIRS])
    projection = attentions(model, family)["decoder.cross"][0].out_proj
    before = projection.weight.detach().clone()
    losses = []
    with torch.no_grad():
        for columns in (slice(0, 0), slice(8, 16)):
            projection.weight[:, columns] = 0
            nll, tokens = seq2seq_nll(family, model, batch)
            losses.append(float((nll / tokens).mean()))
        projection.weight.copy_(before)
    assert found["decoder.cross"][0][1] == pytest.approx(2 * (losses[1] - losses[0]), rel=1e-3)
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_magnitude_is_the_length_of_a_heads_weights(scored):
    model, family = scored[:2]
    found = TABLE["magnitude"].score(Subject(model, family))
    module = attentions(model, family)["decoder.self"][2]
    part = slice(16, 24)  # the third of four heads of width 8
    weights = [getattr(module, n).weight[part] for n in ("q_proj", "k_proj", "v_proj")]
    flat = torch.cat([w.flatten() for w in (*weights, module.out_proj.weight[:, part])])
    assert found["decoder.self"][2][2] == pytest.approx(float(flat.double().norm()))


def test_lots_depend_on_the_seed_alone(scored):
    model, family = scored[:2]
    once, again, other = (TABLE["random"].score(Subject(model, family, seed=s)) for s in (1, 1, 2))
    assert once == again != other
    assert {g: [len(v) for v in by] for g, by in once.items()} == {
        "encoder.self": [4] * 4, "decoder.self": [4] * 3, "decoder.cross": [4] * 3}  # fmt: skip


def test_a_share_of_each_layer():
    scores = {"encoder.self": [[0.1, 0.2, 0.9, 0.8], [0.3, 0.01, 0.02, 0.0]], "decoder.cross": [[0.3]]}
    assert heads.choose(scores, share("1/2"), per="layer") == {"encoder.self": {0: [0, 1], 1: [1, 3]}}
    assert heads.choose(scores, share("99/100"), per="layer") == {"encoder.self": {0: [0, 1, 3], 1: [1, 2, 3]}}


def test_the_lowest_go_over_all_modules_and_the_last_head_stays():
    scores = {"encoder.self": [[0.1, 0.2, 0.9], [0.0, 0.01, 0.02]], "decoder.cross": [[0.3], [0.15, 0.8]]}
    assert heads.choose(scores, share("1/3")) == {"encoder.self": {0: [0], 1: [0, 1]}}
    assert heads.choose(scores, share("1/2")) == {"encoder.self": {0: [0, 1], 1: [0, 1]}, "decoder.cross": {1: [0]}}
    with pytest.raises(ConsommeError, match=r"99/100 of 9 heads are 9; each of the 4 .* 5 can go at most \(5/9\)"):
        heads.choose(scores, share("99/100"))
    assert sum(map(len, heads.choose(scores, share("5/9"))["encoder.self"].values())) == 4
    with pytest.raises(ConsommeError, match="one head, which has to stay"):
        heads.choose({"encoder.self": [[0.5], [0.2]]}, share("1/2"))


def test_normalised_scores_have_length_one_in_each_module():
    scaled = heads.normalised({"encoder.self": [[3.0, 4.0], [0.0, 0.0]]})
    assert scaled == {"encoder.self": [[0.6, 0.8], [0.0, 0.0]]}
