"""Exports of small models: what is written, and that it says what the original says."""

import json

import pytest
import torch
from safetensors.torch import load_file

from consomme.common.errors import ConsommeError
from consomme.common.job import parse
from consomme.export.stage import run
from consomme.families import load
from consomme.formats import TABLE


def _agreement(folder):
    return json.loads((folder / "provenance.json").read_text())["agreement"]


def test_safetensors_as_it_is_with_a_card(job, models, tmp_path):
    run(parse(job("marian", "safetensors"), ""))
    out, parent = tmp_path / "out", models("marian")
    before, after = (load_file(f / "model.safetensors") for f in (parent, out))
    assert before.keys() == after.keys() and all(torch.equal(before[n], after[n]) for n in before)
    assert (out / "config.json").read_bytes() == (parent / "config.json").read_bytes()
    card = (out / "README.md").read_text()
    assert card.startswith("---\n") and "pipeline_tag: translation" in card and "# trial/small" in card
    assert _agreement(out) == {"examples": 32, "same": 32, "share": 1.0, "differences": []}


@pytest.mark.parametrize("word", ["float16", "bfloat16"])
def test_safetensors_in_half_precision_are_torchs_own_rounding(job, models, tmp_path, word):
    run(parse(job("marian", "safetensors", word), ""))
    before, after = (load_file(f / "model.safetensors") for f in (models("marian"), tmp_path / "out"))
    for name, value in before.items():
        assert torch.equal(after[name], value.to(getattr(torch, word)))
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == word
    assert load(tmp_path / "out").dtype == torch.float32  # by the one call; from_pretrained takes the stored precision


def test_what_float16_can_not_hold_is_refused(job, models, tmp_path):
    from safetensors.torch import save_file

    from consomme.common.model_files import copy_inherited

    large = tmp_path / "large"
    large.mkdir()
    copy_inherited(models("marian"), large)
    weights = load_file(models("marian") / "model.safetensors")
    weights["model.encoder.layers.0.fc1.weight"][0, 0] = 1e6
    save_file(weights, large / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConsommeError, match=r"layers\.0\.fc1\.weight has values too large for float16; try bfloat16"):
        run(parse(job("marian", "safetensors", "float16", parent=large), ""))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("family", ["marian", "whisper"])
def test_ctranslate2_says_the_same(job, tmp_path, family):
    run(parse(job(family, "ctranslate2"), ""))
    out = tmp_path / "out"
    assert (out / "model.bin").exists()
    assert "model_type" not in json.loads((out / "config.json").read_text())  # CTranslate2's own
    found = _agreement(out)
    assert found["examples"] == (32 if family == "marian" else 6)
    assert found["share"] == 1.0
    if family == "whisper":
        assert json.loads((out / "preprocessor_config.json").read_text())["feature_size"] == 80


def test_ctranslate2_in_eight_bits_is_smaller(job, tmp_path):
    run(parse(job("marian", "ctranslate2", "int8"), ""))
    size = (tmp_path / "out" / "model.bin").stat().st_size
    run(parse(job("marian", "ctranslate2"), ""))
    assert size < 0.5 * (tmp_path / "out" / "model.bin").stat().st_size


@pytest.mark.parametrize("family, zeroed", [("marian", True), ("marian", False), ("whisper", True)])
def test_ctranslate2_of_a_head_pruned_model(job, headless, tmp_path, family, zeroed):
    run(parse(job(family, "ctranslate2", parent=headless(family, zeroed)), ""))
    assert _agreement(tmp_path / "out")["share"] == 1.0


def test_safetensors_of_a_head_pruned_model_say_how_to_load_it(job, headless, tmp_path):
    run(parse(job("marian", "safetensors", "float16", parent=headless("marian")), ""))
    out = tmp_path / "out"
    assert "consomme.families.load" in (out / "README.md").read_text()
    assert load_file(out / "zeroed" / "model.safetensors")["model.encoder.layers.0.fc1.weight"].dtype == torch.float16
    assert load(out).config.pruned_heads


@pytest.mark.parametrize(
    "family, form, quantization, message",
    [
        ("ctc", "ctranslate2", None, "'ctc' can't be written as ctranslate2; allowed: safetensors"),
        ("marian", "safetensors", "int8", "quantization: Input should be 'float16' or 'bfloat16'"),
        ("marian", "ctranslate", None, "did you mean 'ctranslate2'"),
    ],
)
def test_what_can_not_be_done_is_said(job, tmp_path, family, form, quantization, message):
    with pytest.raises(ConsommeError, match=message):
        run(parse(job(family, form, quantization), ""))
    assert not (tmp_path / "out").exists()


def test_an_export_that_says_something_else_is_noticed(job, tmp_path, monkeypatch, capsys):
    import consomme.formats.safetensors as form

    monkeypatch.setattr(form, "_checkpoint", _shuffled(form._checkpoint))
    run(parse(job("marian", "safetensors"), ""))
    assert _agreement(tmp_path / "out")["share"] < 0.9
    assert len(_agreement(tmp_path / "out")["differences"]) == 3
    assert "WARNING: an export in floating point should have equal outputs" in capsys.readouterr().err


def _shuffled(checkpoint):
    from safetensors.torch import save_file

    def write(model, folder, quantization):
        checkpoint(model, folder, quantization)
        weights = load_file(folder / "model.safetensors")
        weights["model.encoder.layers.0.fc1.weight"] = weights["model.encoder.layers.0.fc1.weight"].flip(0).contiguous()
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return write


def test_without_a_development_set_nothing_is_compared(job, tmp_path, capsys):
    run(parse(job("marian", "safetensors", dev=False), ""))
    assert _agreement(tmp_path / "out") is None
    assert "nothing was compared" in capsys.readouterr().err


def test_formats_are_those_that_families_name():
    from consomme.families import TABLE as FAMILIES

    assert {name for family in FAMILIES.values() for name in family.exports} <= set(TABLE)
