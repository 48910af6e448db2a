"""The whole stage on a small translator."""

import json
import subprocess
import sys

import pytest
import torch

from consomme.common.errors import ConsommeError
from consomme.common.stage import parse
from consomme.families import family_named, load
from consomme.prune.choosers import TABLE as CHOOSERS
from consomme.prune.stage import run

from .conftest import PAIRS  # isort: skip

PROBE = """
import json, sys, torch, transformers
model = transformers.AutoModelForSeq2SeqLM.from_pretrained(sys.argv[1]).eval()
assert not any(name.startswith("consomme") for name in sys.modules)
tokenizer = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
ids = tokenizer(["one two"], return_tensors="pt")
torch.set_num_threads(1)
with torch.no_grad():
    logits = model(**ids, decoder_input_ids=torch.tensor([[model.config.decoder_start_token_id, 3, 4]])).logits
print(json.dumps(logits.flatten().tolist()))
"""


def _logits(model, folder, text="one two"):
    ids = family_named("marian").processor(folder)([text], return_tensors="pt")
    start = torch.tensor([[model.config.decoder_start_token_id, 3, 4]])
    with torch.no_grad():
        return model(**ids, decoder_input_ids=start).logits


def _chosen(folder):
    return json.loads((folder / "provenance.json").read_text())["chosen"]


def test_the_identity_layer_goes_first_and_costs_nothing(job, tmp_path, translator, capsys):
    arguments = job(layers={"encoder": {"drop": "1/4", "by": "greedy"}})
    run(parse(arguments, ""))
    found = _chosen(tmp_path / "pruned")["layers"]
    assert list(found) == ["encoder"]
    assert found["encoder"]["dropped"] == [3] and found["encoder"]["kept"] == [1, 2, 4]
    (step,) = found["encoder"]["trace"]
    assert (step["step"], step["layer"]) == (1, 3) and 0 < step["objective"] < 0.1  # the loss in its own direction
    small, whole = load(tmp_path / "pruned"), load(translator)
    assert small.config.encoder_layers == 3
    assert torch.allclose(_logits(small, translator), _logits(whole, translator), atol=1e-3)
    # once more: found, and nothing evaluated; under another digest: all from the evaluator's cache
    capsys.readouterr()
    run(parse(arguments, ""))
    assert "found, nothing to compute" in capsys.readouterr().err
    run(parse(job(name="other", layers={"encoder": {"drop": "1/4", "by": "greedy"}}, digest="other"), ""))
    assert "d: loss" not in capsys.readouterr().err
    assert (tmp_path / "other/model.safetensors").read_bytes() == (tmp_path / "pruned/model.safetensors").read_bytes()


@pytest.mark.parametrize("chooser", [name for name, chooser in CHOOSERS.items() if chooser.searches])
def test_every_search_lets_the_identity_layer_go_first(job, tmp_path, translator, chooser):
    run(parse(job(layers={"encoder": {"drop": "1/4", "by": chooser}}), ""))
    assert _chosen(tmp_path / "pruned")["layers"]["encoder"]["dropped"] == [3]


def test_states_are_compared_side_by_side(job, tmp_path, translator):
    """The cosines of the decoder's states against those of the stock model's hidden states."""
    from consomme.average.judge import Judge
    from consomme.prune.states import cosines

    family, model, processor = family_named("marian"), load(translator), family_named("marian").processor(translator)
    judge = Judge(parse(job(layers={"decoder": {"drop": "1/3", "by": "similarity"}}), ""), {"t": translator})
    total = torch.zeros(4, 4, dtype=torch.float64)
    for source, target in PAIRS:
        labels = [family.labels(processor, target, ["en", "fr"])]
        batch = family.collate(processor, [family.features(processor, source)], labels)
        with torch.no_grad():
            states = torch.stack(model(**batch, output_hidden_states=True).decoder_hidden_states)[:, 0].double()
        total += torch.nn.functional.cosine_similarity(states[:, None], states[None], dim=-1).mean(-1) / len(PAIRS)
    torch.testing.assert_close(torch.tensor(cosines(model, family, "decoder", judge), dtype=torch.float64), total)


def test_layers_only_gives_a_plain_checkpoint_of_the_same_output_to_the_bit(job, tmp_path, translator):
    from consomme.families.surgery import keep_layers

    layers = {"encoder": {"drop": "1/2", "by": "uniform"}, "decoder": {"keep": [1, 3]}}
    run(parse(job(layers=layers), ""))
    folder = tmp_path / "pruned"
    assert _chosen(folder) == {"layers": {"encoder": {"kept": [1, 3], "dropped": [2, 4]},
                                          "decoder": {"kept": [1, 3], "dropped": [2]}}}  # fmt: skip
    assert not (tmp_path / "cache").exists()  # no development set was looked at
    assert "pruned_heads" not in json.loads((folder / "config.json").read_text())
    expected = keep_layers(load(translator), family_named("marian"), {"encoder": [0, 2], "decoder": [0, 2]})
    done = subprocess.run([sys.executable, "-c", PROBE, folder], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout.splitlines()[-1]) == _logits(expected, translator).flatten().tolist()


def test_heads_are_cut_out_and_the_twin_says_the_same(job, tmp_path, translator):
    import transformers

    layers = {"decoder": {"drop": [2]}}
    run(parse(job(layers=layers, heads={"drop": "1/4", "by": "taylor"}), ""))
    folder = tmp_path / "pruned"
    chosen = _chosen(folder)["heads"]
    assert chosen["of"] == 4 * (4 + 2 + 2) and chosen["sliced"]
    assert sum(len(h) for by in chosen["removed"].values() for h in by.values()) == 8
    assert 4 in chosen["removed"]["encoder.self"]["2"]  # the one that nobody hears
    config = json.loads((folder / "config.json").read_text())
    assert {g: {str(int(n) + 1): [h + 1 for h in hs] for n, hs in by.items()}
            for g, by in config["pruned_heads"].items()} == chosen["removed"]  # fmt: skip
    twin = transformers.MarianMTModel.from_pretrained(folder / "zeroed").eval()
    assert "pruned_heads" not in json.loads((folder / "zeroed" / "config.json").read_text())
    sliced = load(folder)
    assert torch.allclose(_logits(sliced, translator), _logits(twin, translator), atol=1e-4)
    assert sum(p.numel() for p in sliced.parameters()) < sum(p.numel() for p in twin.parameters())
    assert (folder / "zeroed" / "source.spm").exists() and not (folder / "zeroed" / "provenance.json").exists()


@pytest.mark.parametrize("by", ["magnitude", "random"])
def test_heads_chosen_without_data_read_none(job, tmp_path, translator, by):
    run(parse(job(heads={"drop": "1/4", "by": by, "per": "layer"}), ""))
    removed = _chosen(tmp_path / "pruned")["heads"]["removed"]
    assert {g: [len(h) for h in by_layer.values()] for g, by_layer in removed.items()} == {
        "encoder.self": [1] * 4, "decoder.self": [1] * 3, "decoder.cross": [1] * 3}  # fmt: skip
    assert not (tmp_path / "cache").exists()
    load(tmp_path / "pruned")


def test_precision_is_kept(job, tmp_path, translator):
    import transformers

    half = tmp_path / "half"
    transformers.MarianMTModel.from_pretrained(translator).bfloat16().save_pretrained(half)
    for file in ("vocab.json", "source.spm", "target.spm", "tokenizer_config.json"):
        (half / file).write_bytes((translator / file).read_bytes())
    run(parse(job(parent=half, layers={"encoder": {"drop": "1/2", "by": "truncate"}}), ""))
    from safetensors import safe_open

    with safe_open(tmp_path / "pruned" / "model.safetensors", "pt") as pruned, \
         safe_open(half / "model.safetensors", "pt") as parent:  # fmt: skip
        assert set(pruned.keys()) < set(parent.keys())
        for name in pruned.keys():  # noqa: SIM118
            assert torch.equal(pruned.get_tensor(name), parent.get_tensor(name))


@pytest.mark.parametrize(
    "given, message",
    [
        ({"layers": {"encoder": {"keep": [9]}}}, "there is no layer 9; the encoder has layers 1 to 4"),
        ({"heads": {"drop": "1/4", "by": "tailor"}}, "did you mean 'taylor'"),
        ({}, "nothing to do"),
        (
            {
                "heads": {"drop": "1/4", "by": "taylor"},
                "choose_on": {
                    "metric": "loss",
                    "sets": {"d": {"weight": 1.0, "lose_at_most": 1.0, "of": "base"}},
                },
            },
            "lose_at_most on d has no use",
        ),
    ],
)
def test_what_can_not_be_done_is_said_and_nothing_is_written(job, tmp_path, given, message):
    with pytest.raises(ConsommeError, match=message):
        run(parse(job(**given), ""))
    assert not (tmp_path / "pruned").exists()


def test_a_recogniser_without_decoder(job, tmp_path):
    folder = tmp_path / "ctc"
    settings = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 16}
    family_named("ctc").create(folder, settings, {}, lambda: iter(["ab c"]), ["en"], seed=1)
    with pytest.raises(ConsommeError, match="'ctc' has no decoder; it has: encoder"):
        run(parse(job(parent=folder, layers={"decoder": {"drop": "1/2", "by": "truncate"}}), ""))
