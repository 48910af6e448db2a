"""Runs that diverged, or were stopped early, are left out of every average."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from consomme.average.stage import run
from consomme.common.errors import ConsommeError
from consomme.common.job import Job


def average(tmp_path, folders, diverged=(), stopped=None, quorum=None, **settings):
    for name, folder in folders.items():
        record = {"diverged": {"step": 7, "loss": "nan", "weights_of_step": 0}} if name in diverged else {}
        record |= {"stopped": {"step": stopped[name]}} if name in (stopped or {}) else {}
        (folder / "provenance.json").write_text(json.dumps(record))
    spec = {"stage": "average", "digest": "d", "task": "nmt", "settings": settings}
    if quorum:
        spec["execution"] = {"quorum": quorum}
    spec["inputs"] = [f"parent/{name}" for name in folders]
    job = Job(
        spec, dict(zip(spec["inputs"], folders.values(), strict=True)), tmp_path / "out", tmp_path, tmp_path, 1, "cpu"
    )
    run(job)
    return load_file(job.out / "model.safetensors"), json.loads((job.out / "provenance.json").read_text())


def test_a_mean_is_that_of_the_others(tmp_path, checkpoint, some):
    tensors = {name: some(seed) for seed, name in enumerate("abc")}
    folders = {name: checkpoint(name, found) for name, found in tensors.items()}
    found, record = average(tmp_path, folders, ["b"], method="uniform")
    wanted = (tensors["a"]["layer.bias"].astype(np.float64) + tensors["c"]["layer.bias"]) / 2
    np.testing.assert_allclose(found["layer.bias"], wanted, rtol=1e-6)
    assert record["left_out"] == {"b": "diverged at step 7"} and record["chosen"]["ingredients"] == ["a", "c"]


def test_its_weight_goes_with_it(tmp_path, checkpoint, some):
    tensors = {name: some(seed) for seed, name in enumerate("abc")}
    folders = {name: checkpoint(name, found) for name, found in tensors.items()}
    found, _ = average(tmp_path, folders, ["a"], method="weighted", weights={"layer.*": [9.0, 1.0, 3.0]})
    wanted = 0.25 * tensors["b"]["layer.bias"].astype(np.float64) + 0.75 * tensors["c"]["layer.bias"]
    np.testing.assert_allclose(found["layer.bias"], wanted, rtol=1e-6)


def test_a_run_that_its_sweep_stopped_is_left_out_too(tmp_path, checkpoint, some):
    tensors = {name: some(seed) for seed, name in enumerate("abc")}
    folders = {name: checkpoint(name, found) for name, found in tensors.items()}
    found, record = average(tmp_path, folders, ["b"], {"a": 200}, method="uniform")
    np.testing.assert_array_equal(found["layer.bias"], tensors["c"]["layer.bias"])
    assert record["left_out"] == {"a": "stopped at step 200", "b": "diverged at step 7"}


def test_nothing_left_and_too_few_left_are_errors(tmp_path, checkpoint, some):
    folders = {name: checkpoint(name, some(seed)) for seed, name in enumerate("ab")}
    with pytest.raises(ConsommeError, match="nothing is left to average: a diverged at step 7, b"):
        average(tmp_path, folders, ["a", "b"], method="uniform")
    with pytest.raises(ConsommeError, match="takes exactly 2 models, 1 given"):
        average(tmp_path, folders, ["b"], method="interpolate", alpha=0.5)


def test_a_quorum_has_to_be_left(tmp_path, checkpoint, some):
    folders = {name: checkpoint(name, some(seed)) for seed, name in enumerate("abc")}
    with pytest.raises(ConsommeError, match="quorum: 3 of 3 models are needed, 2 are left: b diverged at step 7"):
        average(tmp_path, folders, ["b"], quorum=3, method="uniform")
    _, record = average(tmp_path, folders, ["b"], quorum=2, method="uniform")
    assert record["left_out"] == {"b": "diverged at step 7"}
