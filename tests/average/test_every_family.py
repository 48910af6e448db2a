"""Averages of every family: by hand, from two checkpoints of one ancestor, loaded as any other."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from consomme.average.stage import entry
from consomme.families import load

FAMILIES = [
    "ctc",
    "wav2vec2",
    "hubert",
    "wavlm",
    "parakeet",
    "parakeet_rnnt",
    "parakeet_tdt",
    "whisper",
    "speech2text",
    "moonshine",
    "marian",
    "m2m_100",
    "mbart",
    "t5",
]


def test_the_list_is_whole(every_family):
    assert sorted(FAMILIES) == sorted(every_family)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_mean_of_two_loads_and_answers(tmp_path, folders, bundle, name):
    one, two, out = folders(name), tmp_path / "two", tmp_path / "out"
    shutil.copytree(one, two)
    weights = load_file(one / "model.safetensors")
    floats = {n for n, w in weights.items() if w.dtype.kind == "f"}
    other = {n: (w * np.float32(1.2) if n in floats and "running_var" not in n else w) for n, w in weights.items()}
    save_file(other, two / "model.safetensors", {"format": "pt"})
    entry(["--method", "uniform", "--out", str(out), str(one), str(two)])
    made = load_file(out / "model.safetensors")
    assert made.keys() == weights.keys()
    for n in floats:
        exact = (weights[n].astype(np.float64) + other[n].astype(np.float64)) / 2
        assert np.array_equal(made[n], exact.astype(np.float32)), n
    found = bundle(name, one)
    batch = {k: v for k, v in found.batch.items() if k != "labels"}
    if found.family.objective != "ctc" and "decoder_input_ids" not in batch:
        batch["decoder_input_ids"] = found.family.decoder_inputs(found.model, found.batch["labels"])
    with torch.no_grad():
        logits = load(out)(**batch).logits
    assert torch.isfinite(logits).all() and not torch.equal(logits, found.model(**batch).logits)
