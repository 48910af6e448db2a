"""Costs of tiny models made on the spot."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from consomme.common.files import write_json
from consomme.common.stage import main
from consomme.costs import measure
from consomme.costs import stage as costs
from consomme.costs.stage import architecture
from consomme.data.prepared import Writer
from consomme.results.columns import COSTS

TEXTS = ["the cat sat on a mat", "le chat est assis", "hello world, how are you?", "bonjour le monde, ça va ?"]


@pytest.fixture
def models(tmp_path, monkeypatch, corpus):
    """Marian models `base`, `tuned` (its shape), and `small` (fewer layers), beside a prepared corpus."""
    from consomme.families import family_named

    monkeypatch.chdir(tmp_path)
    settings = {"d_model": 16, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    for seed, (name, layers) in enumerate([("base", 3), ("tuned", 3), ("small", 1)]):
        family_named("marian").create(
            Path(name),
            {**settings, "encoder_layers": layers, "decoder_layers": layers},
            {"vocab_size": 60},
            lambda: iter(TEXTS * 5),
            ["en", "fr"],
            seed=seed,
        )
    corpus(Path("dev"), TEXTS)
    return tmp_path


def test_models_of_one_shape_are_measured_once(models, monkeypatch):
    named = [("base", 1), ("base", 2), ("tuned", 1), ("small", 1)]
    spec = {
        "task": "nmt",
        "languages": ["en", "fr"],
        "decoding": {"num_beams": 1, "max_new_tokens": 8},
        "models": [{"name": n, "replicate": r, "folder": n} for n, r in named],
        "sets": ["dev"],
        "corpora": {"dev": "dev"},
    }
    Path("spec.json").write_text(json.dumps(spec))
    measured = []
    apart = costs._apart
    monkeypatch.setattr(costs, "_apart", lambda folder, *rest: measured.append(folder.name) or apart(folder, *rest))
    main(costs.run, "", ["--spec", "spec.json", "--out", "costs.tsv", "--threads", "1", "--device", "cpu"])
    # each architecture once in every pass, and all of them in turn
    assert measured == ["base", "small"] * measure.PASSES
    with open("costs.tsv", newline="") as stream:
        rows = {(r["model"], r["replicate"]): r for r in csv.DictReader(stream, delimiter="\t")}
    base, tuned, small = rows["base", "1"], rows["tuned", "1"], rows["small", "1"]
    assert list(base) == COSTS.names and len(rows) == 4
    assert {k: base[k] for k in ("parameters", "flops", "speed")} == {
        k: tuned[k] for k in ("parameters", "flops", "speed")
    }
    assert int(small["parameters"]) < int(base["parameters"])
    assert 0 < float(small["flops"]) < float(base["flops"])
    assert 0 < float(base["speed_low"]) <= float(base["speed"]) <= float(base["speed_high"])
    rounds = [float(speed) for speed in base["rounds"].split(" ")]
    assert len(rounds) == measure.PASSES * measure.ROUNDS
    assert (min(rounds), max(rounds)) == (float(base["speed_low"]), float(base["speed_high"]))
    assert base["decoding"] == "max_new_tokens=8, num_beams=1" and base["window"] == ""
    assert base["speed_unit"] == "tokens/s" and float(base["memory"]) > 10
    assert int(base["bytes"]) == Path("base/model.safetensors").stat().st_size


def test_architecture_is_config_and_shapes_not_weights(models):
    assert architecture(Path("base")) == architecture(Path("tuned")) != architecture(Path("small"))
    shutil.copytree("base", "other")
    config = json.loads(Path("other/config.json").read_text())
    Path("other/config.json").write_text(json.dumps({**config, "transformers_version": "0", "_name_or_path": "x"}))
    assert architecture(Path("other")) == architecture(Path("base"))
    Path("other/config.json").write_text(json.dumps({**config, "activation_function": "relu"}))
    assert architecture(Path("other")) != architecture(Path("base"))


def test_a_checkpoint_in_half_precision_is_of_the_architecture_that_it_is_computed_in(models):
    from safetensors.torch import load_file, save_file

    shutil.copytree("base", "half")
    weights = {name: tensor.half() for name, tensor in load_file("base/model.safetensors").items()}
    save_file(weights, "half/model.safetensors", metadata={"format": "pt"})
    config = json.loads(Path("half/config.json").read_text())
    write_json(Path("half/config.json"), config | {"dtype": "float16"})
    assert architecture(Path("half")) == architecture(Path("base"))


def test_a_long_generation_is_timed_once_a_pass_and_operations_are_counted_only_when_asked(models, monkeypatch):
    spec = {"languages": ["en", "fr"], "corpora": {"dev": "dev"}, "sets": ["dev"], "decoding": {"num_beams": 1}}
    monkeypatch.setattr(measure, "LONG", 0.0)
    first, later = (measure.measure(Path("base"), spec, "cpu", 1, count) for count in (True, False))
    assert len(first["rounds"]) == len(later["rounds"]) == 1
    assert first["flops"] > 0 and later["flops"] is None
    assert measure.together([first, later])["flops"] == first["flops"]


def test_attention_counts_whichever_kernel_computes_it():
    import torch

    from consomme.costs.measure import flop_counter

    query = torch.randn(2, 4, 50, 8)
    with flop_counter() as counter, torch.inference_mode():
        torch.nn.functional.scaled_dot_product_attention(query, query, query)
    by_hand = 2 * (2 * 4) * 50 * 50 * 8 * 2  # two products of matrices for each of two rows' four heads
    assert counter.get_total_flops() == by_hand


@pytest.mark.parametrize("loudest", ["</s>", "<unk>"])
def test_silence_and_babble_are_timed_for_the_same_number_of_tokens(models, loudest):
    """A model that ends at once, and one that never does."""
    import torch

    from consomme.families import family_of, load

    family, model = family_of(Path("base")), load("base")
    processor = family.processor(Path("base"), ["en", "fr"])
    with torch.no_grad():
        model.final_logits_bias[0, processor.convert_tokens_to_ids(loudest)] = 100.0
    written, plain = [], model.generate
    model.generate = lambda **given: written.append(plain(**given)) or written[-1]
    batch = family.collate(processor, [family.features(processor, t) for t in TEXTS], None)
    for limit, tokens in ((20, 7), (5, 7)):
        family.generate(model, processor, batch, ["en", "fr"], measure.as_long({"max_new_tokens": limit}, tokens))
        assert written[-1].shape == (len(TEXTS), 1 + min(limit, tokens))  # the start stands before them


@pytest.mark.parametrize("name", ["ctc", "wav2vec2"])
def test_weights_that_are_computed_from_others_are_measured(tmp_path, folders, name):
    """The convolution of positions in wav2vec 2.0 has weight norm."""
    import numpy as np

    with Writer(tmp_path / "rows.arrow", "asr") as writer:
        row = {
            "id": "1",
            "speaker": None,
            "document": None,
            "recordings": [],
            "text": "the cat",
            "seconds": 0.5,
            "audio_hash": "",
        }
        writer.add({**row, "audio": (1000 * np.sin(np.arange(8000))).astype(np.int16)})
    facts = {"task": "asr", "name": "dev", "rows": 1, "version": 1, "sampling_rate": 16000}
    write_json(tmp_path / "prepared.json", {**facts, "fingerprint": writer.fingerprint(16000)})
    spec = {"languages": ["en"], "corpora": {"dev": str(tmp_path)}, "sets": ["dev"], "decoding": {"num_beams": 1}}
    found = measure.measure(folders(name), spec, "cpu", 1)
    assert found["flops"] > 0 and len(found["rounds"]) == measure.ROUNDS
