import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from consomme.average import mean

VOCABULARY = {"</s>": 0, "<unk>": 1, "a": 2, "b": 3}
CONFIG = {"model_type": "some", "architectures": ["SomeModel"], "dtype": "float32"}


@pytest.fixture(autouse=True)
def one_thread():
    """The command by hand takes all cores, and what it sets outlasts it in this process."""
    yield
    mean.set_threads(1)


@pytest.fixture
def checkpoint(tmp_path):
    """checkpoint(name, tensors, **files) writes a folder that looks like a model; JSON values by file name."""

    def make(name, tensors, config=CONFIG, vocabulary=VOCABULARY, **files):
        folder = tmp_path / name
        folder.mkdir()
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "vocab.json").write_text(json.dumps(vocabulary))
        for file, value in files.items():
            (folder / f"{file}.json").write_text(json.dumps(value))
        return folder

    return make


@pytest.fixture
def some():
    """some(seed) -> tensors of a small model; all have the same names and shapes."""

    def make(seed, dtype=np.float32):
        random = np.random.default_rng(seed)
        return {
            "layer.weight": random.normal(size=(300, 700)).astype(dtype),  # more than one piece
            "layer.bias": random.normal(size=7).astype(dtype),
            "scale": np.array(random.normal(), dtype=dtype),
            "empty": np.zeros((0, 4), dtype),
            "steps": np.array([3, 4], np.int64),
        }

    return make
