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
from consomme.families.windows import KEY
from consomme.results.columns import COSTS

TEXTS = ["the cat sat on a mat", "le chat est assis", "hello world, how are you?", "bonjour le monde, ça va ?"]
ENDS = ("speed_low", "speed", "speed_high")
QUICK = {"base": 1.0, "small": 1.0}  # seconds of a round


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


def spec_of(*named, **more):
    return {
        "languages": ["en", "fr"],
        "decoding": {"num_beams": 1, "max_new_tokens": 8},
        "models": [{"name": n, "replicate": r, "folder": n} for n, r in named],
        "sets": ["dev"],
        "corpora": {"dev": "dev"},
    } | more


def measured(spec):
    """The rows of costs.tsv."""
    Path("spec.json").write_text(json.dumps(spec))
    main(costs.run, "", ["--spec", "spec.json", "--out", "costs.tsv", "--threads", "1", "--device", "cpu"])
    with open("costs.tsv", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def test_models_of_one_shape_are_measured_once(models, monkeypatch):
    asked = []
    apart = costs._apart
    monkeypatch.setattr(costs, "LIMIT", 0.0)  # one round each
    monkeypatch.setattr(costs, "_apart", lambda folder, *rest: asked.append(folder.name) or apart(folder, *rest))
    rows = measured(spec_of(("base", 1), ("base", 2), ("tuned", 1), ("small", 1)))
    assert asked == ["base", "small"]
    rows = {(r["model"], r["replicate"]): r for r in rows}
    base, tuned, small = rows["base", "1"], rows["tuned", "1"], rows["small", "1"]
    assert list(base) == COSTS.names and len(rows) == 4
    assert {k: base[k] for k in ("parameters", "flops", "speed")} == {
        k: tuned[k] for k in ("parameters", "flops", "speed")
    }
    assert int(small["parameters"]) < int(base["parameters"])
    assert 0 < float(small["flops"]) < float(base["flops"])
    assert 0 < float(base["speed_low"]) == float(base["speed"]) == float(base["rounds"]) == float(base["speed_high"])
    assert base["decoding"] == "max_new_tokens=8, num_beams=1" and base["window"] == ""
    assert base["speed_unit"] == "tokens/s" and float(base["memory"]) > 10
    assert int(base["bytes"]) == Path("base/model.safetensors").stat().st_size


@pytest.fixture
def scripted(models, monkeypatch):
    """scripted(base=SPEEDS, small=SPEEDS) measures `base` and `small`, whose rounds take `seconds` and have the speeds of
    these functions of their number. Returns the rows by model, and the models in the order of their rounds."""
    clock, asked = [0.0], []

    def measure_both(seconds, **speed):
        def apart(folder, *rest):
            number = asked.count(folder.name)
            asked.append(folder.name)
            clock[0] += seconds[folder.name]
            found = {"parameters": 1, "flops": None if number else 7.0, "memory": 10.0 + number, "window": ""}
            return found | {"speed": speed[folder.name](number), "speed_unit": "tokens/s", "decoding": ""}

        monkeypatch.setattr(costs, "_apart", apart)
        monkeypatch.setattr(costs.time, "monotonic", lambda: clock[0])
        return {row["model"]: row for row in measured(spec_of(("base", 1), ("small", 1)))}, asked

    return measure_both


def test_rounds_take_turns_until_the_median_is_known_to_a_twentieth(scripted):
    rows, asked = scripted(QUICK, base=lambda n: 100.0 + n % 2, small=lambda n: 200.0 if n else 150.0)
    # of six to eight rounds the extremes are the interval; of nine the slowest is left out
    assert asked == ["base", "small"] * 6 + ["small"] * 3
    assert [float(s) for s in rows["base"]["rounds"].split()] == [100, 101, 100, 101, 100, 101]
    assert [float(rows["base"][key]) for key in ENDS] == [100, 100.5, 101]
    assert [float(rows["small"][key]) for key in ENDS] == [200, 200, 200]
    assert float(rows["base"]["memory"]) == 15 and rows["base"]["flops"] == "7"


def test_a_busy_machine_is_given_up_after_twelve_rounds(scripted):
    rows, asked = scripted(QUICK, base=lambda n: 100.0 + 50 * (n % 2), small=lambda n: 200.0)
    assert (asked.count("base"), asked.count("small")) == (12, 6)
    assert [float(rows["base"][key]) for key in ENDS] == [100, 125, 150]


def test_a_slow_model_has_one_round_at_least_and_about_half_a_minute(scripted):
    rows, asked = scripted({"base": 40.0, "small": 11.0}, base=lambda n: 1.0, small=lambda n: 2.0 + n)
    assert asked == ["base", "small", "small", "small"]
    assert [float(rows["small"][key]) for key in ENDS] == [2, 3, 4]


def test_a_model_of_short_windows_is_measured_in_both(tmp_path, folders, monkeypatch):
    """In the full one together with its base, which has no other."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(costs, "LIMIT", 0.0)
    shutil.copytree(folders("whisper"), "base")
    config = json.loads(Path("base/config.json").read_text())
    write_json(Path("base/config.json"), {k: v for k, v in config.items() if k != KEY})
    shutil.copytree("base", "tuned")
    write_json(Path("tuned/config.json"), config | {KEY: "short"})
    speech("dev")
    spec = spec_of(("base", 1), ("tuned", 1), languages=["en"])
    rows = measured(spec)
    assert [(r["model"], r["window"]) for r in rows] == [("base", "full"), ("tuned", "full"), ("tuned", "short")]
    base, full, short = rows
    assert full["speed"] == base["speed"] and full["flops"] == base["flops"]
    assert float(short["flops"]) < 0.8 * float(full["flops"])
    rows = measured(spec | {"decoding": {**spec["decoding"], "window": "short"}})
    assert [(r["model"], r["window"]) for r in rows] == [("base", "short"), ("tuned", "short")]


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


def test_operations_are_counted_only_when_asked(models):
    spec = spec_of()
    first, later = (measure.measure(Path("base"), spec, "cpu", 1, count) for count in (True, False))
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
    speech(tmp_path / "dev")
    spec = {
        "languages": ["en"],
        "corpora": {"dev": str(tmp_path / "dev")},
        "sets": ["dev"],
        "decoding": {"num_beams": 1},
    }
    found = measure.measure(folders(name), spec, "cpu", 1)
    assert found["flops"] > 0 and found["speed"] > 0


def speech(folder):
    """A prepared corpus of half a second."""
    import numpy as np

    Path(folder).mkdir()
    with Writer(Path(folder) / "rows.arrow", "asr") as writer:
        row = {"id": "1", "speaker": None, "document": None, "recordings": [], "text": "the cat", "seconds": 0.5}
        writer.add({**row, "audio_hash": "", "audio": (1000 * np.sin(np.arange(8000))).astype(np.int16)})
    facts = {"task": "asr", "name": "dev", "rows": 1, "version": 1, "sampling_rate": 16000}
    write_json(Path(folder) / "prepared.json", {**facts, "fingerprint": writer.fingerprint(16000)})
