"""The whole stage on a small translator."""

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


@pytest.mark.parametrize("options", [{"beam": 2}, {"swaps": True}, {"beam": 3, "swaps": True}])
def test_so_do_the_options_of_greedy(job, tmp_path, translator, options):
    run(parse(job(layers={"encoder": {"drop": "1/4", "by": "greedy", **options}}), ""))
    assert _chosen(tmp_path / "pruned")["layers"]["encoder"]["dropped"] == [3]


@pytest.mark.parametrize("side, metric", [("encoder", "loss"), ("decoder", "loss"), ("encoder", "bleu")])
def test_a_search_answers_the_same_to_the_bit_with_states_kept_and_without(job, tmp_path, translator, side, metric):
    from consomme.evaluate.judge import Judge
    from consomme.prune.choosers.base import Question
    from consomme.prune.search import Search

    found = []
    for name, limit in (("with", 2**30), ("without", 0)):
        arguments = job(cache=tmp_path / name)
        judge = Judge(parse(arguments, ""), {"t": translator}, metric)
        search = Search(load(translator), family_named("marian"), side, {}, judge, limit)
        depth = {"encoder": 4, "decoder": 3}[side]
        question = Question(
            depth, 2, objective=search, near=search.near, settings=CHOOSERS["greedy"].settings(swaps=True)
        )
        found.append((CHOOSERS["greedy"].choose(question), [(kept, value) for kept, value, *_ in search.asked]))
        assert all(computed for *_, computed, _ in search.asked)
        assert (search.replay is not None) == (limit > 0 and metric == "loss")
    assert found[0] == found[1]


def test_a_recogniser_with_ctc_keeps_states_for_its_error_rate_too(tmp_path):
    import numpy as np

    from consomme.common.files import write_json
    from consomme.common.job import Job
    from consomme.data.prepared import Writer
    from consomme.evaluate.judge import Judge
    from consomme.prune.choosers.base import Question
    from consomme.prune.search import Search

    family, folder, corpus = family_named("ctc"), tmp_path / "model", tmp_path / "dev"
    folder.mkdir()
    corpus.mkdir()
    settings = {"hidden_size": 16, "num_hidden_layers": 5, "intermediate_size": 16, "initializer_range": 0.5}
    family.create(folder, settings, {}, lambda: iter(["ab c"]), ["en"], seed=1)
    noise = np.random.default_rng(1)
    with Writer(corpus / "rows.arrow", "asr") as writer:
        for i, text in enumerate(["ab", "c a", "b c a"]):
            wave = (noise.standard_normal(6000 + 2000 * i) * 3000).astype(np.int16)
            row = {"id": f"u{i}", "speaker": None, "document": None, "recordings": [], "audio_hash": f"u{i}"}
            writer.add({**row, "text": text, "seconds": len(wave) / 16000, "audio": wave})
    about = {"task": "asr", "name": "dev", "fingerprint": writer.fingerprint(16000), "rows": 3, "version": 1}
    write_json(corpus / "prepared.json", {**about, "sampling_rate": 16000, "seconds": writer.seconds})
    found = []
    for limit in (2**30, 0):
        choose_on = {"metric": "cer", "sets": {"d": {"weight": 1.0}}}
        spec = {"dev": {"d": ["dev"]}, "languages": ["en"], "metric": "cer", "normaliser": "basic",
                "settings": {"choose_on": choose_on}}  # fmt: skip
        job = Job(spec, {"corpus/dev": corpus}, tmp_path, tmp_path, tmp_path / f"cache{limit}", 1, "cpu")
        search = Search(load(folder), family, "encoder", {}, Judge(job, {"m": folder}), limit)
        question = Question(5, 3, objective=search, near=search.near, settings=CHOOSERS["greedy"].settings(beam=2))
        found.append((CHOOSERS["greedy"].choose(question), [(kept, value) for kept, value, *_ in search.asked]))
        if limit:
            assert search.replay.bytes > 0
    assert found[0] == found[1] and len({value for _, value in found[0][1]}) > 1


def test_a_killed_search_goes_on_where_it_was(job, tmp_path, monkeypatch):
    """The second search asks as often and computes the rest; what it chose and its provenance are those of a whole one."""
    from consomme.prune.search import Search

    plan = {"encoder": {"drop": "1/2", "by": "greedy"}}
    ask, count = Search.__call__, []

    def killed(self, kept):
        count.append(kept)
        if len(count) == 6:
            raise KeyboardInterrupt
        return ask(self, kept)

    with monkeypatch.context() as patch:
        patch.setattr(Search, "__call__", killed)
        with pytest.raises(KeyboardInterrupt):
            run(parse(job(layers=plan), ""))
    run(parse(job(layers=plan), ""))
    run(parse(job(name="whole", layers=plan, cache=tmp_path / "other"), ""))
    assert _computed(tmp_path / "pruned") == [0] * 5 + [1] * 2 and _computed(tmp_path / "whole") == [1] * 7
    # a search that took two attempts and one that took one
    assert (tmp_path / "pruned/provenance.json").read_bytes() == (tmp_path / "whole/provenance.json").read_bytes()
    assert _chosen(tmp_path / "whole")["layers"]["encoder"]["search"] == {"evaluations": 7}


def test_ranks_are_different_sets_and_cost_one_search(job, tmp_path):
    found = []
    for rank in (1, 2, 3):
        name = f"rank-{rank}"
        run(parse(job(name=name, layers={"encoder": {"drop": "1/2", "by": "greedy", "rank": rank}}), ""))
        found.append(_chosen(tmp_path / name)["layers"]["encoder"])
        assert sum(_computed(tmp_path / name)) == (7 if rank == 1 else 0)
    assert len({tuple(side["kept"]) for side in found}) == 3
    ranks = [step for step in found[2]["trace"] if "rank" in step]
    assert [step["layers"] for step in ranks] == [side["dropped"] for side in found]
    assert [step["objective"] for step in ranks] == sorted(step["objective"] for step in ranks)
    with pytest.raises(ConsommeError, match="rank: 4 given; the search tries 3 sets"):
        run(parse(job(name="none", layers={"encoder": {"drop": "1/2", "by": "greedy", "rank": 4}}), ""))


def _computed(folder):
    header, *lines = [line.split("\t") for line in (folder / "search.tsv").read_text().splitlines()]
    assert header == ["side", "kept", "metric", "value", "computed", "seconds"]
    return [int(line[4]) for line in lines]


def test_gates_leave_the_model_as_it_was_and_are_the_same_again(job, translator, monkeypatch):
    from consomme.evaluate.judge import Judge
    from consomme.prune import gates
    from consomme.prune.gates import learn

    monkeypatch.setattr(gates, "STEPS", 15)

    family, model = family_named("marian"), load(translator)
    before = _logits(model.eval(), translator)
    judge = Judge(parse(job(), ""), {"t": translator}, "loss")
    scores = [learn(model, family, "encoder", judge, 1, seed) for seed in (1, 1, 2)]
    assert scores[0] == scores[1] != scores[2]
    assert all(min(range(4), key=found.__getitem__) == 2 for found, _ in scores)  # the identity
    assert torch.equal(_logits(model, translator), before)
    assert all(p.grad is None for p in model.parameters()) and model.model.shared.weight.requires_grad


def test_a_search_on_the_decoder_sees_the_encoder_that_is_left(job, tmp_path, translator):
    """Similarity of the decoder's states under a cut encoder, not under the whole one."""
    from consomme.evaluate.judge import Judge
    from consomme.families.surgery import keep_layers
    from consomme.prune.search import Search
    from consomme.prune.states import cosines

    judge = Judge(parse(job(), ""), {"t": translator}, "loss")
    family, cut = family_named("marian"), {"encoder": [1, 3]}
    seen = Search(load(translator), family, "decoder", cut, judge).similarity()
    assert seen == cosines(keep_layers(load(translator), family, cut), family, "decoder", judge)
    assert seen != cosines(load(translator), family, "decoder", judge)


def test_states_are_compared_side_by_side(job, tmp_path, translator):
    """The cosines of the decoder's states against those of the stock model's hidden states."""
    from consomme.evaluate.judge import Judge
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


def test_heads_are_cut_out_and_the_zeroed_copy_says_the_same(job, tmp_path, translator):
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
    zeroed = transformers.MarianMTModel.from_pretrained(folder / "zeroed").eval()
    assert "pruned_heads" not in json.loads((folder / "zeroed" / "config.json").read_text())
    sliced = load(folder)
    assert torch.allclose(_logits(sliced, translator), _logits(zeroed, translator), atol=1e-4)
    assert sum(p.numel() for p in sliced.parameters()) < sum(p.numel() for p in zeroed.parameters())
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
        (
            {"layers": {"encoder": {"drop": "1/2", "by": "uniform", "beam": 2}}},
            "beam: unknown key; allowed: none",
        ),
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
