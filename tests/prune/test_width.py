"""Neurons: scores against known answers, which go, and the stage from the settings to a plain checkpoint."""

import json
import subprocess
import sys

import pytest
import torch

from consomme.common.errors import ConsommeError
from consomme.common.job import parse
from consomme.common.provenance import lineage
from consomme.data.prepared import Rows
from consomme.families import family_named, load
from consomme.families.surgery import layers
from consomme.families.units import NEURONS, parts
from consomme.prune import width
from consomme.prune.layers import share
from consomme.prune.scores import TABLE
from consomme.prune.scores.base import Subject
from consomme.prune.stage import run

from .conftest import PAIRS  # isort: skip
from .test_stage import PROBE, _chosen, _logits  # isort: skip

UNHEARD = {"encoder": (3, 9, 31), "decoder": (0, 17, 18)}  # neurons of each layer that nobody listens to, from 0


@pytest.fixture(scope="module")
def deaf(translator, tmp_path_factory):
    """The translator with three neurons of each layer unheard."""
    folder, model = tmp_path_factory.mktemp("deaf"), load(translator)
    for side, neurons in UNHEARD.items():
        for layer in layers(model, family_named("marian").stacks[side]):
            layer.fc2.weight.data[:, list(neurons)] = 0
    for file in translator.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    model.save_pretrained(folder)
    return folder


def subject(folder, corpus, **more):
    family, model = family_named("marian"), load(folder)
    sets = [(Rows.open([corpus]), 1.0)]
    return Subject(model, family, family.processor(folder), sets, ["en", "fr"], of="neurons", **more)


@pytest.mark.parametrize("sides", [(), ("decoder",)])
def test_all_neurons_are_scored(translator, corpus, sides):
    for name in ("taylor", "magnitude", "random"):
        found = TABLE[name].score(subject(translator, corpus, sides=sides))
        shapes = {"encoder.feed_forward": [32] * 4, "decoder.feed_forward": [32] * 3}
        wanted = {group: sizes for group, sizes in shapes.items() if not sides or group.startswith(sides)}
        assert {g: [len(v) for v in by] for g, by in found.items()} == wanted


def test_a_neuron_that_nobody_hears_scores_zero_and_goes_first(deaf, corpus):
    found = TABLE["taylor"].score(subject(deaf, corpus))
    gone = width.choose(found, share("3/32"))
    for side, neurons in UNHEARD.items():
        by = found[f"{side}.feed_forward"]
        assert all(by[layer][n] == 0 for layer in range(len(by)) for n in neurons)
        alive = [
            values for layer, values in enumerate(by) if (side, layer) != ("encoder", 2)
        ]  # that one is the identity
        assert all(sum(v > 0 for v in values) > 8 for values in alive)
        loud = [by for n, by in enumerate(gone[f"{side}.feed_forward"]) if (side, n) != ("encoder", 2)]
        active = [sorted(range(32), key=lambda n, v=values: (v[n], n))[:3] for values in alive]
        assert loud == [sorted(few) for few in active]


def test_scores_are_the_derivative_by_the_neuron(deaf, corpus):
    """The loss of each sentence with one neuron turned up and down a little."""
    from consomme.evaluate.losses import seq2seq_nll

    class Wrong(Rows):
        """The sentences with each other's translations: losses that stand out of the rounding."""

        def target(self, i):
            return PAIRS[i - 3][1]

    at = subject(deaf, corpus)
    rows = Rows.open([corpus])
    wrong = Wrong.__new__(Wrong)
    wrong.__dict__.update(rows.__dict__)
    at = Subject(at.model, at.family, at.processor, [(wrong, 1.0)], ["en", "fr"], of="neurons")
    found = TABLE["taylor"].score(at)["decoder.feed_forward"][1]
    best, step, total = max(range(32), key=lambda n: found[n]), 1e-2, 0.0
    down = parts(at.model, at.family, NEURONS)["decoder.feed_forward"][1].down
    for i in range(len(PAIRS)):
        labels = [at.family.labels(at.processor, wrong.target(i), ["en", "fr"])]
        batch = at.family.collate(at.processor, [at.family.features(at.processor, wrong.source(i))], labels)
        losses = []
        for factor in (1 + step, 1 - step):
            before = down.weight.detach().clone()
            with torch.no_grad():
                down.weight[:, best] *= factor
                nll, tokens = seq2seq_nll(at.family, at.model, batch)
                down.weight.copy_(before)
            losses.append(float(nll / tokens))
        total += abs(losses[0] - losses[1]) / (2 * step)
    assert found[best] == pytest.approx(total / len(PAIRS), rel=0.02)


def test_magnitude_is_the_length_of_a_neurons_weights(translator, corpus):
    at = subject(translator, corpus)
    found = TABLE["magnitude"].score(at)["encoder.feed_forward"][1][5]
    layer = at.model.model.encoder.layers[1]
    weights = torch.cat([layer.fc1.weight[5], layer.fc2.weight[:, 5]]).double()
    assert found == pytest.approx(float(weights.norm()))


def test_both_halves_of_a_gated_part_belong_to_the_neuron(tmp_path):
    """Moonshine's decoder has values and gates in one projection."""
    family = family_named("moonshine")
    small = {"hidden_size": 16, "intermediate_size": 8, "encoder_num_hidden_layers": 1, "decoder_num_hidden_layers": 1}
    family.create(tmp_path, small, {"vocab_size": 40}, lambda: iter(["a b c d"] * 9), ["en"], seed=1)
    model = load(tmp_path)
    found = TABLE["magnitude"].score(Subject(model, family, of="neurons"))["decoder.feed_forward"][0][3]
    mlp = model.model.decoder.layers[0].mlp
    weights = torch.cat([mlp.fc1.weight[3], mlp.fc1.weight[8 + 3], mlp.fc2.weight[:, 3]]).double()
    assert found == pytest.approx(float(weights.norm()))


def test_the_lowest_of_each_part_go_and_one_stays():
    scores = {"encoder.feed_forward": [[0.3, 0.1, 0.2, 0.1], [5.0, 9.0, 7.0, 8.0]]}
    assert width.choose(scores, share("1/2")) == {"encoder.feed_forward": [[1, 3], [0, 2]]}
    assert width.choose(scores, share("99/100")) == {"encoder.feed_forward": [[1, 2, 3], [0, 2, 3]]}
    with pytest.raises(ConsommeError, match="at least one goes and at least one stays"):
        width.choose({"encoder.feed_forward": [[0.3]]}, share("1/2"))


def test_other_neurons_are_another_lineage(job, tmp_path, translator):
    for name, by, parent in (
        ("a", "magnitude", translator),
        ("b", "random", translator),
        ("c", "magnitude", tmp_path / "a"),
    ):
        run(parse(job(name=name, parent=parent, width={"drop": "1/4", "by": by, "sides": []}), ""))
    found = [lineage(tmp_path / name) for name in "abc"]
    assert [f["weights"] for f in found] == [lineage(translator)["weights"]] * 3
    assert len({f["neurons"] for f in found}) == 3


def test_only_unheard_neurons_go_and_nothing_changes(job, tmp_path, deaf):
    """3 of 32, by taylor; the outputs are the parent's up to the order of sums, in a process without this package to the
    bit those of the model in memory."""
    run(parse(job(parent=deaf, width={"drop": "3/32", "by": "taylor", "sides": ["decoder"]}), ""))
    folder = tmp_path / "pruned"
    config = json.loads((folder / "config.json").read_text())
    assert (config["encoder_ffn_dim"], config["decoder_ffn_dim"]) == (32, 29) and "pruned_heads" not in config
    chosen = _chosen(folder)["width"]
    assert chosen.pop("gone")
    assert chosen == {"by": "taylor", "width": {"decoder_ffn_dim": 29}, "of": {"decoder_ffn_dim": 32},
                      "lost": {"decoder.feed_forward": [0, 0, 0]}}  # fmt: skip
    small = load(folder)
    torch.testing.assert_close(_logits(small, deaf), _logits(load(deaf), deaf), rtol=1e-5, atol=1e-5)
    done = subprocess.run([sys.executable, "-c", PROBE, folder], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout.splitlines()[-1]) == _logits(small, deaf).flatten().tolist()


@pytest.mark.parametrize("by", ["magnitude", "random"])
def test_neurons_chosen_without_data_read_none(job, tmp_path, by):
    run(parse(job(width={"drop": "1/4", "by": by}), ""))
    model = load(tmp_path / "pruned")
    assert {p.count for by in parts(model, family_named("marian"), NEURONS).values() for p in by} == {24}
    assert not (tmp_path / "cache").exists()


def test_layers_then_heads_then_neurons_in_one_node(job, tmp_path, translator):
    import transformers

    run(
        parse(
            job(
                layers={"encoder": {"drop": [3]}},
                heads={"drop": "1/4", "by": "random"},
                width={"drop": "1/2", "by": "taylor"},
            ),
            "",
        )
    )
    folder = tmp_path / "pruned"
    assert set(_chosen(folder)) == {"layers", "heads", "width"}
    sliced, zeroed = load(folder), transformers.MarianMTModel.from_pretrained(folder / "zeroed").eval()
    assert zeroed.config.encoder_layers == 3 and zeroed.config.encoder_ffn_dim == zeroed.config.decoder_ffn_dim == 16
    torch.testing.assert_close(_logits(sliced, translator), _logits(zeroed, translator), rtol=1e-4, atol=1e-4)
    # narrower once more: a parent that lost heads
    run(parse(job(name="again", parent=folder, width={"drop": "1/2", "by": "magnitude"}), ""))
    again, zeroed = (
        load(tmp_path / "again"),
        transformers.MarianMTModel.from_pretrained(tmp_path / "again/zeroed").eval(),
    )
    assert again.config.encoder_ffn_dim == 8 and again.config.pruned_heads == sliced.config.pruned_heads
    torch.testing.assert_close(_logits(again, translator), _logits(zeroed, translator), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"drop": "1/4", "by": "leave_one_out"}, "too many neurons"),
        ({"drop": "1/4", "by": "tailor"}, "did you mean 'taylor'"),
        ({"drop": "1/4", "by": "random", "sides": ["decodre"]}, "has no decodre; .*did you mean 'decoder'"),
    ],
)  # fmt: skip
def test_what_can_not_be_done_is_said(job, tmp_path, plan, message):
    with pytest.raises(ConsommeError, match=message):
        run(parse(job(width=plan), ""))
    assert not (tmp_path / "pruned").exists()
