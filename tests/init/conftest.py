"""Small data of one's own, in the shapes that `consomme init` reads."""

import json

import numpy as np
import pytest
import soundfile

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def sentence(rng, words=5):
    return " ".join(rng.choice(WORDS, words))


def write_recording(path, seconds=0.5, rate=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(int(seconds * rate), 0.1, "float32"), rate)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def speech(here):
    """train.tsv, dev.tsv and test.tsv of audio and text, and the same for `other`."""
    rng = np.random.default_rng(1)
    for name, rows in {"train": 40, "dev": 12, "test": 20, "other-dev": 12, "other-test": 20}.items():
        lines = ["audio\ttext\tspeaker"]
        for n in range(rows):
            write_recording(here / f"wav/{name}-{n}.wav")
            lines.append(f"wav/{name}-{n}.wav\t{sentence(rng)}\t{name}-{n % 4}")
        (here / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    return here


@pytest.fixture
def pairs(here):
    """PREFIX.en and PREFIX.fr for train, dev, test, and the same for `other`."""
    rng = np.random.default_rng(1)
    for name, rows in {"train": 60, "dev": 12, "test": 20, "other-dev": 12, "other-test": 20}.items():
        for language in ("en", "fr"):
            text = "".join(f"{sentence(rng)} {language}\n" for _ in range(rows))
            (here / f"{name}.{language}").write_text(text)
    return here


@pytest.fixture
def checkpoint(here):
    """A folder that holds the config.json of a checkpoint and no weights."""

    def make(**config):
        folder = here / "checkpoint"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make
