"""Tiny models, and prepared corpora to measure them on."""

from pathlib import Path

import numpy as np
import pytest

from consomme.common.files import write_json
from consomme.data.prepared import Writer

TEXTS = ["the cat sat on a mat", "le chat est assis", "hello world, how are you?", "bonjour le monde, ça va ?"]


@pytest.fixture
def corpus():
    """Write a prepared corpus of translations, the source being its own target."""

    def write(folder, texts):
        folder.mkdir()
        with Writer(folder / "rows.arrow", "nmt") as writer:
            for i, text in enumerate(texts):
                row = {"id": str(i), "speaker": None, "document": None, "recordings": []}
                writer.add({**row, "source": text, "target": text})
        facts = {"task": "nmt", "name": folder.name, "rows": writer.rows, "version": 1}
        write_json(folder / "prepared.json", {**facts, "fingerprint": writer.fingerprint()})

    return write


@pytest.fixture
def models(tmp_path, monkeypatch, corpus):
    """Marian models `base`, `tuned` (its shape), and `small` (fewer layers), beside a prepared corpus."""
    from consomme.families import family_named

    monkeypatch.chdir(tmp_path)
    settings = {"d_model": 16, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    for seed, (name, layers) in enumerate([("base", 3), ("tuned", 3), ("small", 1)]):
        family_named("marian").create(
            Path(name),
            {**settings, "encoder_layers": layers, "decoder_layers": layers},
            {"vocab_size": 60},
            lambda: iter(TEXTS * 5),
            ["en", "fr"],
            seed=seed,
        )
    corpus(Path("dev"), TEXTS)
    return tmp_path


@pytest.fixture
def speech():
    """Write a prepared corpus of half a second."""

    def write(folder):
        Path(folder).mkdir()
        with Writer(Path(folder) / "rows.arrow", "asr") as writer:
            row = {"id": "1", "speaker": None, "document": None, "recordings": [], "text": "the cat", "seconds": 0.5}
            writer.add({**row, "audio_hash": "", "audio": (1000 * np.sin(np.arange(8000))).astype(np.int16)})
        facts = {"task": "asr", "name": "dev", "rows": 1, "version": 1, "sampling_rate": 16000}
        write_json(Path(folder) / "prepared.json", {**facts, "fingerprint": writer.fingerprint(16000)})

    return write
