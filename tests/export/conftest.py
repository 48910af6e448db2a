"""Small models with random weights that say something, development sets, and jobs on them."""

import json
from functools import partial

import numpy as np
import pytest
import torch

from consomme.common.files import write_json
from consomme.data.prepared import Writer
from consomme.families import family_named, load

TEXTS = ["one two three", "un deux trois", "four five", "quatre cinq", "six", "sept huit"]
ROW = {"speaker": None, "document": None, "recordings": []}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def _corpus(folder, task, rows, **more):
    with Writer(folder / "rows.arrow", task) as writer:
        for i, row in enumerate(rows):
            writer.add({"id": f"r{i}", **ROW, **row})
    about = {
        "task": task,
        "name": "dev",
        "fingerprint": writer.fingerprint(),
        "rows": writer.rows,
        "version": 1,
        **more,
    }
    write_json(folder / "prepared.json", about)
    return folder


@pytest.fixture(scope="session")
def corpora(tmp_path_factory):
    random = np.random.default_rng(0)
    speech = []
    for i, text in enumerate(TEXTS):
        tone = np.sin(np.arange(16000) * (0.05 + 0.1 * i)) * 8000 + random.normal(size=16000) * 500
        speech.append({"seconds": 1.0, "text": text, "audio_hash": str(i), "audio": tone.astype(np.int16)})
    pairs = [{"source": a, "target": b} for a, b in zip(TEXTS * 7, TEXTS[::-1] * 7, strict=True)]
    return {
        "asr": _corpus(tmp_path_factory.mktemp("speech"), "asr", speech, sampling_rate=16000),
        "nmt": _corpus(tmp_path_factory.mktemp("text"), "nmt", pairs),
    }


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """models(family) -> a checkpoint folder; weights are large enough for outputs to depend on the input."""
    made = {}
    settings = {
        "marian": ({"d_model": 32, "init_std": 0.4, "max_position_embeddings": 64}, {"vocab_size": 40}),
        "whisper": ({"d_model": 32, "window": 2, "init_std": 0.25}, {}),
        "ctc": ({"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 16}, {}),
    }

    def folder(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            family_named(name).create(made[name], *settings[name], lambda: iter(TEXTS * 5), ["en", "fr"], seed=3)
        return made[name]

    return folder


@pytest.fixture(scope="session")
def job_in(corpora, models):
    """job_in(place, family, format, quantization, parent=None) -> the arguments of the export command, to `place / "out"`."""

    def arguments(place, family, form, quantization=None, parent=None, dev=True):
        task = "nmt" if family == "marian" else "asr"
        spec = {
            "stage": "export", "version": 1, "digest": f"{family}-{form}-{quantization}", "task": task,
            "label": {"experiment": "trial", "node": "small", "run": "", "replicate": 1}, "seed": 1,
            "languages": ["en", "fr"], "metric": "bleu", "normaliser": "basic",
            "decoding": {"num_beams": 1, "max_new_tokens": 12},
            "settings": {"format": form, "quantization": quantization},
            "dev": {"d": ["dev"]} if dev else {}, "inputs": ["parent/base", *(["corpus/dev"] if dev else [])],
        }  # fmt: skip
        inputs = [str(parent or models(family)), *([str(corpora[task])] if dev else [])]
        return ["--spec", json.dumps(spec), "--inputs", *inputs, "--out", str(place / "out"),
                "--cache", str(place / "cache"), "--threads", "1", "--device", "cpu"]  # fmt: skip

    return arguments


@pytest.fixture
def job(tmp_path, job_in):
    """job(family, format, quantization, parent=None) -> the arguments of the export command, to `tmp_path / "out"`."""
    return partial(job_in, tmp_path)


@pytest.fixture
def headless(tmp_path, models):
    """headless(family, zeroed) -> a copy of the model without the first head of a layer, with its zeroed copy or without."""
    from consomme.common.model_files import copy_inherited
    from consomme.families.surgery import slice_heads
    from consomme.weights.zeroed_copy import write_zeroed_copy

    def folder(name, zeroed=True):
        out = tmp_path / "headless"
        out.mkdir()
        copy_inherited(models(name), out)
        pruned = {"encoder.self": {0: [0]}, "decoder.cross": {1: [1, 2]}}
        slice_heads(load(models(name)), family_named(name), pruned).save_pretrained(out)
        if zeroed:
            write_zeroed_copy(out)
        return out

    return folder
