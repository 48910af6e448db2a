"""Tiny prepared corpora, models and jobs, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from consomme.common.digest import digest
from consomme.common.job import Job

SETTINGS: dict[str, Any] = {
    "max_steps": 20,
    "num_train_epochs": None,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "train_sampling_strategy": "random",
    "learning_rate": 3e-3,
    "lr_scheduler_type": "constant",
    "warmup_steps": 0,
    "warmup_ratio": 0.0,
    "weight_decay": 0.0,
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "max_grad_norm": 1.0,
    "label_smoothing_factor": 0.0,
    "dropout": None,
    "encoder_layerdrop": 0.0,
    "decoder_layerdrop": 0.0,
    "precision": "float32",
    "seed": 1,
    "eval_steps": 0,
    "early_stopping_patience": None,
    "load_best_model_at_end": False,
    "choose_on": {"metric": "loss", "sets": {"dev": {"weight": 1.0}}},
    "augment": {"spec_augment": None, "speed": None, "noise": None},
    "distil": None,
}
TONES = {"a": 300, "b": 600, "c": 1200, "d": 2400}
WORDS = {"one": "un", "two": "deux", "three": "trois", "four": "quatre", "five": "cinq"}


@pytest.fixture(scope="session")
def job():
    return make_job


@pytest.fixture(scope="session")
def speech():
    return make_speech


@pytest.fixture(scope="session")
def sentences():
    return make_sentences


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("train")


@pytest.fixture(scope="session")
def tones(place) -> Path:
    """48 utterances of 2 to 4 tones, each tone a letter of the transcript."""
    return make_speech(place / "tones", 48, seed=0)


@pytest.fixture(scope="session")
def pairs(place) -> Path:
    """64 sentences of numbers with their word-by-word translation."""
    return make_sentences(place / "pairs", 64, seed=0)


@pytest.fixture(scope="session")
def recogniser(place, tones) -> Path:
    from consomme.families import family_named

    folder = place / "recogniser"
    scratch = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    texts = sorted(TONES)
    family_named("ctc").create(folder, {**scratch, "num_mel_bins": 20}, {}, lambda: iter(texts), ["en"], 0)
    return folder


@pytest.fixture(scope="session")
def translator(place, pairs) -> Path:
    from consomme.families import family_named

    folder = place / "translator"
    scratch = {
        "d_model": 16,
        "encoder_layers": 2,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "max_position_embeddings": 32,
    }
    texts = [" ".join(WORDS), " ".join(WORDS.values())] * 20
    family_named("marian").create(folder, scratch, {"vocab_size": 40}, lambda: iter(texts), ["en", "fr"], 0)
    return folder


@pytest.fixture
def forked(monkeypatch):
    """Trainings by several processes fork them."""
    from consomme.train import launch

    from .processes import Forked

    monkeypatch.setattr(launch, "start", Forked)
    monkeypatch.setattr(launch, "GRACE", 2.0)
    monkeypatch.setattr("consomme.train.progress.SECONDS", 1e9)  # one line, at the end


@pytest.fixture
def both(tmp_path):
    """A training by one process and the same by two."""

    from .processes import PLAIN, TWO

    def make(parent, corpus, dev=None, execution=TWO, **options):
        given = {**PLAIN, **options}
        dev = {"c": corpus} if dev else None
        return [
            make_job(tmp_path / name, parent, {"c": corpus}, dev, execution=how, **given)
            for name, how in (("one", {}), ("two", execution))
        ]

    return make


@pytest.fixture(scope="session")
def killed_at():
    return run_killed


def run_killed(step: int, made: Job, monkeypatch) -> None:
    """Run a training that ends in the middle, as if it had been killed."""
    from consomme.train.progress import Progress
    from consomme.train.stage import run

    plain = Progress.on_step_end

    def broken(self, args, state, control, **more):
        if state.global_step == step:
            raise KeyboardInterrupt
        plain(self, args, state, control, **more)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Progress, "on_step_end", broken)
        run(made)


def make_speech(folder: Path, rows: int, seed: int, texts: list[str] | None = None) -> Path:
    """A prepared corpus of tones: 0.1 s a letter, a little noise."""
    generator = np.random.default_rng(seed)
    texts = texts or ["".join(generator.choice(list(TONES), generator.integers(2, 5))) for _ in range(rows)]
    waves = []
    for text in texts:
        wave = np.concatenate([np.sin(2 * np.pi * TONES[c.lower()] * np.arange(1600) / 16000) for c in text[:5]])
        waves.append(((0.3 * wave + 0.01 * generator.standard_normal(len(wave))) * 2**15).astype(np.int16))
    columns = {
        "seconds": pa.array([len(w) / 16000 for w in waves], pa.float64()),
        "audio": pa.array([w.tolist() for w in waves], pa.large_list(pa.int16())),
        "audio_hash": pa.array([f"{seed} {n}" for n in range(len(waves))]),
        "text": pa.array(texts),
    }
    return prepared(folder, "asr", columns)


def make_sentences(folder: Path, rows: int, seed: int, pairs: list[tuple[str, str]] | None = None) -> Path:
    """A prepared corpus of sentence pairs."""
    if pairs is None:
        generator = np.random.default_rng(seed)
        drawn = [generator.choice(list(WORDS), generator.integers(1, 6)) for _ in range(rows)]
        pairs = [(" ".join(words), " ".join(WORDS[w] for w in words)) for words in drawn]
    return prepared(
        folder, "nmt", {"source": pa.array([s for s, _ in pairs]), "target": pa.array([t for _, t in pairs])}
    )


def prepared(folder: Path, task: str, columns: dict[str, pa.Array]) -> Path:
    folder.mkdir(parents=True)
    rows = len(next(iter(columns.values())))
    table = pa.table(
        {
            "id": pa.array([f"row{i:04d}" for i in range(rows)]),
            "speaker": pa.nulls(rows, pa.string()),
            "document": pa.nulls(rows, pa.string()),
            "recordings": pa.array([[]] * rows, pa.list_(pa.string())),
            **columns,
        }
    )
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    known = {
        "task": task,
        "name": folder.name,
        "fingerprint": digest(table.to_pydict(), 32),
        "rows": rows,
        "seconds": sum(columns["seconds"].to_pylist()) if task == "asr" else 0.0,
        "sampling_rate": 16000,
        "read": rows,
        "skipped": {},
        "version": 1,
    }
    (folder / "prepared.json").write_text(json.dumps(known), encoding="utf-8")
    (folder / "skipped.tsv").write_text("id\treason\tdetail\n", encoding="utf-8")
    return folder


def make_job(tmp: Path, parent: Path, train: dict[str, Path], dev: dict[str, Path] | None = None, **given: Any) -> Job:
    """A job of the train stage. given: settings by name; teacher: a model folder; weights, share, seed, execution: of the
    spec."""
    teacher, weights = given.pop("teacher", None), given.pop("weights", {})
    more = {k: given.pop(k) for k in ("share", "seed", "execution") if k in given}
    settings = {**SETTINGS, **given}
    settings["augment"] = {**SETTINGS["augment"], **settings["augment"]}
    inputs = {"parent/base": parent, **{f"corpus/{n}": p for n, p in {**train, **(dev or {})}.items()}}
    if teacher:
        inputs["teacher/big"] = teacher
    spec = {
        "stage": "train",
        "version": 1,
        "label": {},
        "task": json.loads((next(iter(train.values())) / "prepared.json").read_text())["task"],
        "languages": ["en", "fr"],
        "normaliser": "basic",
        "decoding": {"num_beams": 1, "max_new_tokens": 12},
        "seed": 1,
        "settings": settings,
        "train": {n: weights.get(n, 1.0) for n in train},
        "share": 1.0,
        "dev": {"dev": list(dev)} if dev else {},
        "inputs": list(inputs),
        **more,
    }
    spec["digest"] = digest(spec)
    return Job(spec, inputs, tmp / "out", tmp / "state", tmp / "cache", 1, "cpu")
