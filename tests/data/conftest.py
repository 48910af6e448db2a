"""Prepares small corpora in a temporary folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from consomme.common.job import Job
from consomme.data.prepare import run
from consomme.data.prepared import Rows

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


@pytest.fixture(scope="session")
def shared():
    if not SHARED.is_dir():
        pytest.skip("../shared/data isn't here")
    return SHARED


def tone(seconds=0.5, rate=8000, hertz=440.0, scale=0.3):
    return (scale * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.fixture
def wav(tmp_path):
    """Writes a tone to a file below tmp_path; its frequency follows from `k`, so that files differ."""

    def write(name, k=0, seconds=0.5, rate=8000, samples=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(seconds, rate, 300 + 17 * k) if samples is None else samples, rate)
        return path

    return write


@pytest.fixture
def prepare(tmp_path):
    """Runs the stage on a corpus's settings and returns the rows."""

    def prepared(corpus, task="asr", name="corpus", without=(), threads=1, root=tmp_path, languages=("en", "fr")):
        spec = {
            "task": task,
            "languages": list(languages),
            "label": {"corpus": name},
            "corpus": {"sampling_rate": 8000, **corpus},
            "data_root": str(root),
            "inputs": [f"without/{p.name}" for p in without],
        }
        out = tmp_path / "prepared" / name
        inputs = {f"without/{p.name}": p for p in without}
        run(Job(spec, inputs, out, tmp_path / "state" / name, tmp_path / "cache", threads, "cpu"))
        return Rows.open([out])

    return prepared


@pytest.fixture
def out(tmp_path):
    """The folder of a prepared corpus."""
    return lambda name="corpus": tmp_path / "prepared" / name


def skipped(folder):
    """skipped.tsv as id -> reason."""
    lines = (folder / "skipped.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return {line.split("\t")[0]: line.split("\t")[1] for line in lines}


@pytest.fixture
def reasons(out):
    return lambda name="corpus": skipped(out(name))
