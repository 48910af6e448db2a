"""Averages within one run, of what its training kept."""

import json
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from consomme.average.methods import TABLE
from consomme.average.methods.base import Mix
from consomme.average.stage import by_hand
from consomme.common.errors import ConsommeError

TENSOR = "layer.bias"


@pytest.fixture
def run(checkpoint, some):
    """A run that kept its weights after each of 4 steps, running means, an EMA. Returns folder, weights after each step."""
    folder = checkpoint("run", some(0), notes={"kept": True})
    place = folder / "checkpoints"
    place.mkdir()
    steps = {n: some(n) for n in (1, 2, 3, 4)}
    total = {name: np.zeros_like(value, np.float64) for name, value in steps[1].items()}
    index = {"last": [], "best": [], "mean": [], "ema": {"file": "ema.safetensors", "decay": 0.9}, "steps": 4}
    for n, tensors in steps.items():
        save_file(tensors, place / f"step-{n}.safetensors", metadata={"format": "pt"})
        total = {name: total[name] + value for name, value in tensors.items()}
        mean = {
            k: np.asarray(v / n, np.float32) if tensors[k].dtype.kind == "f" else tensors[k] for k, v in total.items()
        }
        save_file(mean, place / f"mean-{n}.safetensors", metadata={"format": "pt"})
        index["last"].append({"file": f"step-{n}.safetensors", "step": n, "objective": -n})
        index["mean"].append({"file": f"mean-{n}.safetensors", "step": n})
    index["best"] = [
        dict(e, objective=v) for e, v in zip([index["last"][2], index["last"][0]], (0.9, 0.8), strict=True)
    ]
    save_file(some(9), place / "ema.safetensors", metadata={"format": "pt"})
    (place / "checkpoints.json").write_text(json.dumps(index))
    (folder / "tensorboard").mkdir()
    (folder / "tensorboard" / "events").write_text("x")
    return folder, {n: t[TENSOR].astype(np.float64) for n, t in steps.items()}


def made(run, tmp_path, method, **settings):
    out = Path(mkdtemp(dir=tmp_path))
    chosen = TABLE[method].build(Mix({"run": run[0]}, {"method": method, **settings}, lambda: None), out)
    return load_file(out / "model.safetensors")[TENSOR], chosen, {p.name for p in out.iterdir()}


def test_the_last_ones(run, tmp_path):
    found, chosen, files = made(run, tmp_path, "last", count=3)
    np.testing.assert_allclose(found, sum(run[1][n] for n in (2, 3, 4)) / 3, rtol=1e-6)
    assert chosen["checkpoints"] == [2, 3, 4]
    # a checkpoint of its own, without what the run kept
    assert files == {"model.safetensors", "config.json", "vocab.json", "notes.json"}


def test_the_best_ones_by_what_was_seen_while_training(run, tmp_path):
    found, chosen, _ = made(run, tmp_path, "best")
    np.testing.assert_allclose(found, (run[1][3] + run[1][1]) / 2, rtol=1e-6)
    assert chosen["scores"] == {"3": 0.9, "1": 0.8}


def test_the_moving_average(run, tmp_path, some):
    found, chosen, _ = made(run, tmp_path, "ema")
    assert np.array_equal(found, some(9)[TENSOR]) and chosen["decay"] == 0.9


@pytest.mark.parametrize(("start", "end"), [(0, 4), (0, 2), (1, 3), (2, 4), (3, 4)])
def test_a_window_of_steps_from_two_running_means(run, tmp_path, start, end):
    found, chosen, _ = made(run, tmp_path, "window", from_step=start, to_step=end)
    wanted = sum(run[1][n] for n in range(start + 1, end + 1)) / (end - start)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert (chosen["from_step"], chosen["to_step"]) == (start, end)


def test_what_was_not_kept_is_named(run, tmp_path):
    with pytest.raises(ConsommeError, match="to_step: 9: run kept no mean there; it has 1, 2, 3, 4"):
        made(run, tmp_path, "window", to_step=9)
    with pytest.raises(ConsommeError, match="to_step must be the larger one"):
        made(run, tmp_path, "window", from_step=3, to_step=2)
    with pytest.raises(ConsommeError, match="count: 7 given; 4 were kept"):
        made(run, tmp_path, "last", count=7)
    (run[0] / "checkpoints" / "checkpoints.json").unlink()
    with pytest.raises(ConsommeError, match=r"train it with checkpoints: \{every: 100, ema: 0.999\}"):
        made(run, tmp_path, "ema")


def test_by_hand(run, tmp_path):
    by_hand(["--method", "window", "--from-step", "2", "--out", str(tmp_path / "by-hand"), str(run[0])])
    found = load_file(tmp_path / "by-hand" / "model.safetensors")[TENSOR]
    np.testing.assert_allclose(found, (run[1][3] + run[1][4]) / 2, rtol=1e-5, atol=1e-6)
