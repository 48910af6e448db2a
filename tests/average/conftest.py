import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from consomme.common.files import write_json
from consomme.data.prepared import Writer
from consomme.families import family_named

DIAL = "model.encoder.layers.0.fc1.bias"  # its first element is what the judge looks at
PAIRS = [("one", "un"), ("two", "deux"), ("three", "trois"), ("four", "quatre"), ("one two", "un deux")]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    settings = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    texts = [t for pair in PAIRS for t in pair] * 4
    family_named("marian").create(folder, settings, {"vocab_size": 40}, lambda: iter(texts), ["en", "fr"], seed=1)
    return folder


@pytest.fixture
def parents(tmp_path, base):
    """parents(a=0.5, b=1.7) -> name -> a copy of the base whose dial shows that value, and all weights a little other."""

    def make(**values):
        found = {}
        for i, (name, value) in enumerate(values.items()):
            found[name] = tmp_path / "parents" / name
            shutil.copytree(base, found[name])
            weights = load_file(base / "model.safetensors")
            random = np.random.default_rng(i)
            for tensor in weights:
                if tensor.endswith("fc2.weight"):
                    weights[tensor] += random.normal(size=weights[tensor].shape).astype(np.float32) * 0.01
            weights[DIAL] = weights[DIAL].copy()
            weights[DIAL][0] = value
            save_file(weights, found[name] / "model.safetensors", metadata={"format": "pt"})
        return found

    return make


@pytest.fixture
def job(tmp_path):
    def arguments(method, parents, choose_on=None, reference=None, name="made", **settings):
        corpus = tmp_path / "corpus"
        if not corpus.exists():
            corpus.mkdir()
            with Writer(corpus / "rows.arrow", "nmt") as writer:
                for i, (source, target) in enumerate(PAIRS):
                    row = {"id": f"r{i}", "speaker": None, "document": None, "recordings": []}
                    writer.add({**row, "source": source, "target": target})
            write_json(corpus / "prepared.json", {"task": "nmt", "name": "dev", "rows": writer.rows, "version": 1,
                                                  "fingerprint": writer.fingerprint()})  # fmt: skip
        references = {"of": reference} if reference else {}
        spec = {
            "stage": "average", "version": 1, "digest": f"{method}{name}", "label": {}, "task": "nmt", "seed": 1,
            "languages": ["en", "fr"], "metric": "loss", "normaliser": "basic", "dev": {"d": ["dev"]},
            "decoding": {"num_beams": 1, "max_new_tokens": 8},
            "settings": {"method": method, "choose_on": choose_on, "alpha": None, "points": 3, **settings},
            "inputs": [*(f"parent/{n}" for n in parents), *(f"reference/{n}" for n in references), "corpus/dev"],
        }  # fmt: skip
        inputs = [str(p) for p in (*parents.values(), *references.values(), corpus)]
        return ["--spec", json.dumps(spec), "--inputs", *inputs, "--out", str(tmp_path / name),
                "--cache", str(tmp_path / "cache"), "--threads", "1", "--device", "cpu"]  # fmt: skip

    return arguments
