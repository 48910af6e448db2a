"""The memory of a training, from a config and settings alone."""

import json
import sys

import numpy as np
import pytest

from consomme.families import TABLE as FAMILIES
from consomme.plan import memory
from consomme.plan.estimates import Estimates, parameters
from consomme.plan.memory import Batch, activations, needed
from consomme.plan.plan import Plan

G = 1e9
MODELS = "experiments/e/models"


def whisper(width, layers, vocabulary=51865):
    sizes = {"d_model": width, "encoder_layers": layers, "decoder_layers": layers, "vocab_size": vocabulary}
    heads = {"encoder_attention_heads": width // 64, "decoder_attention_heads": width // 64}
    return {**sizes, **heads, "encoder_ffn_dim": 4 * width, "decoder_ffn_dim": 4 * width, "max_source_positions": 1500}


# as published: config, and parameters in millions
PUBLISHED = {
    "whisper-tiny": ("whisper", whisper(384, 4), 37.8),
    "whisper-base": ("whisper", whisper(512, 6), 72.6),
    "whisper-large-v3": ("whisper", whisper(1280, 32, 51866), 1543.5),
    "nllb-200-3.3B": ("m2m_100", whisper(2048, 24, 256206) | {"attention_dropout": 0.1, "dropout": 0.1}, 3344.9),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_have_about_the_parameters_that_their_config_says(name):
    family, config, millions = PUBLISHED[name]
    assert parameters({"family": family, **config}, config) == pytest.approx(millions * 1e6, rel=0.05)


def training(name, batch=None, checkpointing=False, **settings):
    family, config, millions = PUBLISHED[name]
    batch = batch or Batch(16, 30.0, 40)
    return needed(millions * 1e6, config, FAMILIES[family], settings, batch, checkpointing)


def test_state_follows_the_optimizer_and_what_is_trained():
    weights = 1543.5e6 * 4
    adamw = training("whisper-large-v3")
    assert adamw.weights == weights and adamw.optimizer == 2 * weights
    assert training("whisper-large-v3", optim="sgd").optimizer == weights
    assert training("whisper-large-v3", optim="adafactor").optimizer == 0
    small = training("whisper-large-v3", optim="adamw_8bit").optimizer
    assert weights / 2 < small < 0.6 * weights  # two bytes for each number, and tables as ever
    kept = training("whisper-large-v3", checkpoints={"ema": 0.99, "mean": False})
    assert kept.optimizer == 4 * weights  # in float64
    lora = training("whisper-large-v3", lora={"r": 8})
    # 96 attentions, each with two projections of (8, 1280) and (1280, 8)
    assert lora.gradients == 96 * 2 * 2 * 8 * 1280 * 4 and lora.optimizer == 2 * lora.gradients
    frozen = training("whisper-large-v3", freeze=["encoder"])
    assert frozen.gradients < 0.7 * adamw.gradients and frozen.weights == weights


def test_gradient_checkpointing_keeps_a_state_for_each_layer():
    """Of a deep model much less than without; and more rows take as much more."""
    plain, less = (training("whisper-large-v3", checkpointing=on).activations for on in (False, True))
    assert less < 0.2 * plain
    double = training("whisper-large-v3", Batch(32, 30.0, 40), True).activations
    assert double == pytest.approx(2 * less)
    assert training("whisper-large-v3", precision="bfloat16").activations < 0.7 * plain


def test_the_largest_translator_needs_a_large_gpu_or_adapters():
    sentences = Batch(16, 0.0, 40)
    assert 50 * G < training("nllb-200-3.3B", sentences).total < 80 * G
    assert training("nllb-200-3.3B", sentences, lora={"r": 16}, checkpointing=True).total < 20 * G


WIDER = {
    "wav2vec2": {"hidden_size": 64, "intermediate_size": 256},
    "ctc": {"hidden_size": 64, "intermediate_size": 256},
    "whisper": {"d_model": 64, "encoder_ffn_dim": 256, "decoder_ffn_dim": 256},
    "marian": {"d_model": 64, "encoder_ffn_dim": 256, "decoder_ffn_dim": 256},
}


@pytest.mark.parametrize("name", WIDER)
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_it_is_about_what_autograd_keeps(folders, bundle, name, dropout):
    import torch

    from consomme.train.dropout import quick

    family = FAMILIES[name]
    folder = folders(name, **WIDER[name], **dict.fromkeys(family.dropouts, dropout))
    config = json.loads((folder / "config.json").read_text())
    tiny = bundle(name, folder)
    rows, tokens, seconds = 4, 20, 2.0
    noise = 0.1 * np.random.default_rng(0).standard_normal(32000).astype(np.float32)
    features = [family.features(tiny.processor, noise) if family.task == "asr" else np.arange(3, 3 + tokens)] * rows
    batch = dict(family.collate(tiny.processor, features, None))
    if family.objective != "ctc":
        batch["decoder_input_ids"] = torch.full((rows, tokens), 5)
    weights = {p.untyped_storage().data_ptr() for p in tiny.model.parameters()}
    held = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), quick():
        logits = tiny.model.train()(**batch).logits
    found = activations(config, family, {}, Batch(rows, seconds, tokens), False) - memory.LOGITS * logits.nbytes
    assert found / memory.BACKWARD == pytest.approx(sum(held.values()), rel=0.3)


def node(plan, name):
    return next(m for m in plan.studies["e"].models if m.name == name or m.node == name)


def test_a_graph_is_followed_to_the_shape_of_each_training(change, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = Plan(change({f"{MODELS}/tuned/gradient_checkpointing": True, f"{MODELS}/tuned/max_steps": 4}))
    estimates = Estimates(plan.models.values())
    base, tuned, healed = (memory.of(node(plan, name), estimates) for name in ("base", "tuned", "healed"))
    assert tuned.activations < base.activations and tuned.gradients == base.gradients
    assert healed.activations < base.activations  # half the layers
    assert base.gradients / 2 < healed.gradients < base.gradients
    assert healed.weights > healed.gradients  # with the teacher's


def test_checkpoints_take_weights_and_state_twice_and_the_last_good_weights(change, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = Plan(change({}))
    estimates = Estimates(plan.models.values())
    base = node(plan, "base")
    # AdamW's state is twice the weights
    assert memory.on_disk(base, estimates) == pytest.approx(7 * estimates.size(base).wide)


def test_a_state_that_is_dealt_out_takes_less_of_each_gpu_and_as_much_of_the_disk(change, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    for more in ({}, {f"{MODELS}/base/shard_optimizer": True}):
        plan = Plan(change({f"{MODELS}/base/gpus": 4, **more}))
        estimates, base = Estimates(plan.models.values()), node(plan, "base")
        found.append((memory.of(base, estimates).optimizer, memory.on_disk(base, estimates)))
    (whole, disk), (part, same) = found
    assert part == whole / 4 and same == disk


def test_weights_that_are_dealt_out_take_as_much_of_the_disk(change, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    for more in ({}, {f"{MODELS}/base/shard_weights": True}):
        plan = Plan(change({f"{MODELS}/base/gpus": 4, **more}))
        estimates, base = Estimates(plan.models.values()), node(plan, "base")
        found.append((memory.of(base, estimates), memory.on_disk(base, estimates)))
    (whole, disk), (part, same) = found
    assert part.optimizer == whole.optimizer / 4 and part.activations == whole.activations and same == disk
    assert (part.weights, part.gradients) != (whole.weights, whole.gradients)


def test_the_largest_translator_fits_small_gpus_in_parts():
    name, config, millions = PUBLISHED["nllb-200-3.3B"]
    family, numbers = FAMILIES[name], millions * 1e6
    whole = needed(numbers, config, family, {}, Batch(16, 0.0, 40), True)
    part, evaluating = (
        memory._dealt(whole, numbers, config, family, settings, 8) for settings in ({}, {"eval_steps": 100})
    )
    assert whole.weights + whole.gradients > 24 * G
    # an eighth, and what is in no layer: tables of 256206 tokens and 2048 numbers; and four of the decoder's layers
    assert part.weights == pytest.approx(whole.weights / 8 + 4 * (256206 * 2048 + 4 * 67.1e6), rel=0.05)
    assert part.weights + part.gradients + part.optimizer / 8 + part.activations < 20 * G
    # the first process has the whole model for a while
    assert evaluating.activations == whole.weights > part.activations


def test_an_unfetched_checkpoint_is_unknown(change):
    plan = Plan(
        change(
            {
                f"{MODELS}/raw": {"from": {"hub": "openai/whisper-tiny"}},
                f"{MODELS}/half": None,
                f"{MODELS}/healed": None,
                f"{MODELS}/out": None,
                "experiments.e.claims": [],
            }
        )
    )
    assert memory.of(node(plan, "base"), Estimates(plan.models.values())) is None


def test_the_estimate_needs_no_torch():
    import subprocess

    code = "import sys, consomme.plan.memory; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
