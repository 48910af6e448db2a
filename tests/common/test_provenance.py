"""Where a model comes from, in bytes that depend on nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from consomme.common.files import hash_file
from consomme.common.job import Job
from consomme.common.provenance import contents, versions, weights_hash, write_provenance


def model(folder, content=b"weights"):
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(content)
    return folder


def job(place, stage="train"):
    parent, teacher = model(place / "parent", b"parent"), model(place / "teacher", b"teacher")
    corpus = place / "corpus"
    corpus.mkdir()
    (corpus / "prepared.json").write_text(json.dumps({"fingerprint": "f1", "rows": 3}))
    spec = {
        "stage": stage,
        "version": 1,
        "digest": "abc",
        "label": {"experiment": "e", "node": "tuned", "run": "", "replicate": 1},
        "task": "asr",
        "languages": ["en"],
        "seed": 1,
        "settings": {"learning_rate": 1e-5},
        "train": {"digits": 1.0},
        "share": 0.5,
    }
    inputs = {"parent/base": parent, "teacher/big": teacher, "corpus/digits": corpus}
    return Job(spec, inputs, place / "out", place / "state", place / "cache", 1, "cpu")


def test_it_names_parents_and_corpora_by_content(tmp_path):
    made = job(tmp_path)
    record = write_provenance(made, model(tmp_path / "out"), chosen={"alpha": 0.3})
    assert record == json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert record["verb"] == "train"
    assert record["parents"] == [{"name": "base", "weights": hash_file(tmp_path / "parent" / "model.safetensors")}]
    assert [t["name"] for t in record["teachers"]] == ["big"]
    assert record["corpora"] == {"digits": "f1"}
    assert record["chosen"] == {"alpha": 0.3}
    assert record["weights"] == hash_file(tmp_path / "out" / "model.safetensors") == weights_hash(tmp_path / "out")


def test_equal_inputs_give_equal_bytes_wherever_they_lie(tmp_path):
    for place in ("here", "there"):
        write_provenance(job(tmp_path / place), model(tmp_path / place / "out"))
    here, there = ((tmp_path / p / "out" / "provenance.json").read_bytes() for p in ("here", "there"))
    assert here == there
    assert str(tmp_path).encode() not in here


def test_files_beside_the_weights_are_content_too(tmp_path):
    """A checkpoint with another tokenizer or generation config is another model, though its weights are the same: what was made
    of the first isn't found again, and what is made of a model of it starts anew."""
    records, keys = [], []
    for name, more in (("a", {}), ("b", {}), ("c", {"suppress_tokens": [3]})):
        made, folder = job(tmp_path / name), model(tmp_path / name / "out")
        for path in (folder, tmp_path / name / "parent"):
            (path / "generation_config.json").write_text(json.dumps({"num_beams": 1, **more}))
        records.append(write_provenance(made, folder))
        keys.append(contents(made))
    assert records[0] == records[1] != records[2] and keys[0] == keys[1] != keys[2]
    assert records[0]["weights"] == records[2]["weights"]


def test_start_is_called_from(tmp_path):
    assert write_provenance(job(tmp_path, "start"), model(tmp_path / "out"))["verb"] == "from"


def test_its_own_names_are_not_overwritten(tmp_path):
    with pytest.raises(ValueError, match="weights"):
        write_provenance(job(tmp_path), model(tmp_path / "out"), weights="x")


def test_the_hash_of_weights(tmp_path):
    plain = model(tmp_path / "plain")
    assert weights_hash(plain) == hash_file(plain / "model.safetensors")
    (plain / "provenance.json").write_text('{"weights": "known"}')
    assert weights_hash(plain) == "known"
    (plain / "provenance.json").write_text("{}")
    assert weights_hash(plain) == hash_file(plain / "model.safetensors")

    def exported(name, **files):
        (tmp_path / name / "deep").mkdir(parents=True)
        for file, text in files.items():
            (tmp_path / name / "deep" / file).write_text(text)
        return weights_hash(tmp_path / name)

    assert exported("a", model="x") == exported("b", model="x")
    assert exported("c", model="y") != exported("d", model="x")
    assert exported("e", other="x") != exported("f", model="x")


def test_versions_are_read_without_importing():
    assert {"python", "torch", "transformers", "numpy"} <= set(versions())
    code = "import sys; from consomme.common.provenance import versions; versions(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert all(isinstance(v, str) and Path(v).name == v for v in versions().values())
