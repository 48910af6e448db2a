"""The whole stage on a tiny model of every family: nothing of a training may rest on how one of them names its parts."""

import json

import pytest
import torch
from safetensors.torch import load_file

from consomme.common.errors import ConsommeError
from consomme.families import family_named
from consomme.train.optimizers import groups
from consomme.train.stage import run

TRANSDUCERS = ("parakeet_rnnt", "parakeet_tdt")
SPEECH = ("ctc", "wav2vec2", "hubert", "wavlm", "parakeet", *TRANSDUCERS, "whisper", "speech2text", "moonshine")
TEXT = ("marian", "m2m_100", "mbart", "t5")
SAID = ["the cat sat", "le chat", "hello", "bonjour le monde"]


@pytest.fixture(scope="module")
def corpora(place, speech, sentences):
    return {
        "asr": speech(place / "said", 4, seed=0, texts=["abcd", "dcba", "badc", "cab"]),
        "nmt": sentences(place / "written", 4, seed=0, pairs=list(zip(SAID, reversed(SAID), strict=True))),
    }


def trained(tmp_path, job, corpora, parent, task, **settings):
    made = job(tmp_path, parent, {"said": corpora[task]}, max_steps=2, per_device_train_batch_size=2, **settings)
    run(made)
    before, after = (load_file(folder / "model.safetensors") for folder in (parent, tmp_path / "out"))
    assert before.keys() == after.keys() and all(torch.isfinite(w).all() for w in after.values())
    assert any(not torch.equal(before[name].float(), after[name]) for name in before)
    assert json.loads((tmp_path / "out" / "provenance.json").read_text())["steps"] == 2


@pytest.mark.parametrize("name", [*SPEECH, *TEXT])
def test_trains(tmp_path, job, corpora, folders, name):
    family = family_named(name)
    settings = {"layerwise_lr_decay": 0.9, "encoder_layerdrop": 0.2}
    if family.objective == "ctc":
        settings["intermediate_ctc"] = {"layers": [2], "spread": None, "random": None, "weight": 0.3}
    elif family.task == "asr" and family.objective == "seq2seq":
        settings["ctc_weight"] = 0.3
    trained(tmp_path, job, corpora, folders(name), family.task, **settings)


def test_an_unlisted_architecture_trains(tmp_path, job, corpora, unlisted):
    trained(tmp_path / "plain", job, corpora, unlisted, "nmt")
    for settings, words in (
        ({"layerwise_lr_decay": 0.9}, "layerwise_lr_decay: where the layers of 'auto-text' are is unknown"),
        ({"lora": {"r": 2, "lora_alpha": 4, "lora_dropout": 0.0, "target_modules": None}}, "lora: the modules of"),
        ({"encoder_layerdrop": 0.1}, "encoder_layerdrop: where the layers"),
    ):
        with pytest.raises(ConsommeError, match=words):
            trained(tmp_path / words[:4], job, corpora, unlisted, "nmt", **settings)


@pytest.fixture
def unlisted(tmp_path, folders):
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folders("t5"))
    width = {"d_model": 16, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "encoder_layers": 2, "decoder_layers": 2}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    ids = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0, "forced_eos_token_id": None}
    config = transformers.BartConfig(vocab_size=len(tokenizer), **width, **heads, **ids)
    transformers.BartForConditionalGeneration(config).save_pretrained(tmp_path / "bart")
    tokenizer.save_pretrained(tmp_path / "bart")
    return tmp_path / "bart"


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("wav2vec2", {"window": "short"}, "window: 'wav2vec2' takes audio of any length"),
        ("ctc", {"ctc_weight": 0.3}, "ctc_weight: 'ctc' is trained with CTC alone"),
        ("marian", {"intermediate_ctc": {"layers": [1], "weight": 0.3}}, "intermediate_ctc: 'marian' is not trained"),
        ("ctc", {"intermediate_ctc": {"layers": [99], "weight": 0.3}}, r"layers: 99 given; layers 1 to 3 lie below"),
    ],
)
def test_what_a_plan_could_not_know_is_refused_when_the_checkpoint_is_there(
    tmp_path, job, corpora, folders, name, settings, words
):
    with pytest.raises(ConsommeError, match=words):
        trained(tmp_path, job, corpora, folders(name), family_named(name).task, **settings)


@pytest.mark.parametrize(
    ("name", "above", "below"),
    [
        ("ctc", ["lm_head.weight"], ["wav2vec2_bert.feature_projection.projection.weight"]),
        (
            "wav2vec2",
            ["lm_head.weight", "wav2vec2.encoder.layer_norm.weight"],
            ["wav2vec2.feature_projection.projection.weight"],
        ),
        (
            "whisper",
            ["model.encoder.layer_norm.weight", "model.decoder.layer_norm.weight"],
            ["model.encoder.conv1.weight"],
        ),
        (
            "mbart",
            ["model.encoder.layer_norm.weight"],
            ["model.shared.weight", "model.encoder.layernorm_embedding.weight"],
        ),
        ("t5", ["encoder.final_layer_norm.weight", "decoder.final_layer_norm.weight"], ["shared.weight"]),
        ("moonshine", ["model.decoder.norm.weight", "model.encoder.layer_norm.weight"], ["model.encoder.conv1.weight"]),
    ],
)
def test_rates_fall_with_the_layers_below(bundle, folders, name, above, below):
    found = bundle(name, folders(name))
    names = {id(p): n for n, p in found.model.named_parameters()}
    settings = {"learning_rate": 1.0, "weight_decay": 0.0, "layerwise_lr_decay": 0.5}
    rates = {names[id(p)]: g["lr"] for g in groups(found.model, found.family, settings, []) for p in g["params"]}
    assert {rates[n] for n in above} == {1.0}
    assert all(rates[n] <= 0.5**3 for n in below)


@pytest.mark.parametrize("weight", [None, 0.3])
def test_hybrid_ctc_counts_transcripts_longer_than_their_frames(tmp_path, job, speech, folders, weight):
    texts = ["abcd", "dcba", "badc", "abcd" * 10]  # the last one says forty letters in half a second
    made = job(
        tmp_path,
        folders("whisper"),
        {"said": speech(tmp_path / "said", 4, seed=0, texts=texts)},
        max_steps=1,
        ctc_weight=weight,
    )
    run(made)
    left_out = json.loads((tmp_path / "out" / "provenance.json").read_text())["left_out"]
    assert [found["rows"] for found in left_out.get("said", {}).values()] == ([1] if weight else [])
