"""LoRA's adapters kept by themselves: peft puts them onto the parent, and means of them are told apart."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.numpy import load_file

from consomme.average.adapters import read
from consomme.average.methods import method_named
from consomme.average.methods.base import Mix
from consomme.common.errors import ConsommeError
from consomme.common.model_files import inherited
from consomme.families import load
from consomme.train.stage import run

LORA = {"r": 2, "lora_alpha": 8, "lora_dropout": 0.0, "target_modules": None, "keep": True}
FAST = {"learning_rate": 1e-2, "max_steps": 10}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, recogniser, tones, job):
    """tuned(seed, **lora): the folder of a training from the same base."""
    made = {}

    def train(seed, **lora):
        key = json.dumps([seed, lora])
        if key not in made:
            one = job(
                tmp_path_factory.mktemp("tuned"), recogniser, {"tones": tones}, lora=LORA | lora, seed=seed, **FAST
            )
            run(one)
            made[key] = one.out
        return made[key]

    return train


def average(out, method, folders, **settings):
    out.mkdir()
    mix = Mix({f"run{i}": folder for i, folder in enumerate(folders)}, {"method": method, **settings}, lambda: None)
    assert method_named(method).build(mix, out)["ingredients"] == list(mix.parents)
    return load_file(out / "model.safetensors")


@pytest.mark.parametrize("more", [{}, {"use_rslora": True}, {"use_dora": True}], ids=["lora", "rslora", "dora"])
def test_peft_makes_the_saved_model_of_the_parent_and_the_adapter(recogniser, tuned, more):
    folder = tuned(1, **more)
    merged = PeftModel.from_pretrained(load(recogniser), folder / "adapter").merge_and_unload()
    plain = dict(load(folder).named_parameters())
    assert any(not torch.equal(p, dict(load(recogniser).named_parameters())[n]) for n, p in plain.items())
    for name, weight in merged.named_parameters():
        torch.testing.assert_close(weight, plain[name], rtol=0, atol=1e-6)


def test_a_model_with_its_adapter_beside_it_is_a_model_like_any_other(tuned):
    assert not [path for path in inherited(tuned(1)) if "adapter" in str(path)]


def test_nothing_is_kept_unasked(tmp_path, recogniser, tones, job):
    made = job(tmp_path, recogniser, {"tones": tones}, lora=LORA | {"keep": None}, max_steps=1)
    run(made)
    assert not (made.out / "adapter").exists()


def reference(base, folders):
    """(base + s · mean(B) · mean(A), base + s · mean(B·A)) in float64, of the changed tensors."""
    weights = load_file(base / "model.safetensors")
    files = [load_file(folder / "adapter" / "adapter_model.safetensors") for folder in folders]
    factors, products = {}, {}
    for name in (n for n in files[0] if ".lora_A." in n):
        a, b = ([f[n].astype(np.float64) for f in files] for n in (name, name.replace("lora_A", "lora_B")))
        tensor = name.removeprefix("base_model.model.").replace("lora_A.", "")
        factors[tensor] = weights[tensor] + 4 * np.mean(b, 0) @ np.mean(a, 0)
        products[tensor] = weights[tensor] + 4 * np.mean([y @ x for x, y in zip(a, b, strict=True)], 0)
    return SimpleNamespace(factors=factors, products=products, untouched=set(weights) - set(factors), base=weights)


def test_uniform_is_the_mean_of_products_and_adapters_the_product_of_means(tmp_path, recogniser, tuned):
    folders = [tuned(1), tuned(2), tuned(3)]
    expected = reference(recogniser, folders)
    merged, factors = (average(tmp_path / m, m, folders) for m in ("uniform", "adapters"))
    for tensor in expected.products:
        np.testing.assert_allclose(merged[tensor], expected.products[tensor], rtol=0, atol=3e-7)
        np.testing.assert_allclose(factors[tensor], expected.factors[tensor], rtol=0, atol=3e-7)
        assert np.abs(merged[tensor] - factors[tensor]).max() > 1e-4
    for tensor in expected.untouched:
        assert np.array_equal(factors[tensor], expected.base[tensor])


def test_the_mean_of_adapters_is_an_adapter_and_can_be_averaged_again(tmp_path, recogniser, tuned):
    folders = [tuned(1), tuned(2), tuned(3), tuned(4)]
    halves = [tmp_path / "one", tmp_path / "two"]
    average(halves[0], "adapters", folders[:2])
    average(halves[1], "adapters", folders[2:])
    whole, again = (average(tmp_path / n, "adapters", f) for n, f in (("whole", folders), ("again", halves)))
    for tensor, weight in whole.items():
        np.testing.assert_allclose(again[tensor], weight, rtol=0, atol=1e-6)
    merged = PeftModel.from_pretrained(load(recogniser), tmp_path / "whole" / "adapter").merge_and_unload()
    for name, weight in merged.named_parameters():
        np.testing.assert_allclose(weight.detach().numpy(), whole[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"r": 4}, "run0 and run1 have adapters of other modules or ranks"),
        ({"lora_alpha": 4}, "run0 and run1 differ in lora_alpha"),
        ({"use_dora": True}, r"run1: its adapters are more than two factors each \(DoRA\)"),
    ],
)
def test_adapters_that_do_not_fit_are_refused(tmp_path, tuned, other, words):
    with pytest.raises(ConsommeError, match=words):
        average(tmp_path / "out", "adapters", [tuned(1), tuned(2, **other)])


def test_a_model_without_adapters_is_refused(recogniser):
    with pytest.raises(ConsommeError, match=r"base: there are no adapters in .*lora: \{keep: true\}"):
        read(recogniser / "adapter", "base")
