"""Corpora in real stores' likenesses: S3 as moto's server has it, Azure's blobs as Azurite has them."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path
from types import SimpleNamespace

import fsspec
import numpy as np
import pytest
import soundfile

from consomme.common.job import Job
from consomme.data import remote
from consomme.data.prepare import run
from consomme.data.prepared import Rows
from consomme.data.sources import TABLE

from .servers import ACCOUNT, KEY, SECRET, free_port

pytestmark = pytest.mark.slow


@pytest.fixture(params=["s3", "az"])
def store(request, monkeypatch, tmp_path):
    """An empty bucket: `address`, `put(folder)`, `scheme`; logged in by the environment."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_"))]:
        monkeypatch.delenv(name)
    for name, value in request.getfixturevalue(request.param).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CONSOMME_CACHE", str(tmp_path / "copies"))
    remote.forget()
    bucket = f"b{abs(hash(request.node.name)) % 10**12}"
    system = fsspec.filesystem(request.param, use_listings_cache=False, skip_instance_cache=True)
    system.mkdir(bucket)

    def put(folder):
        for path in folder.rglob("*"):
            if path.is_file():
                system.pipe(f"{bucket}/{path.relative_to(folder)}", path.read_bytes())

    yield SimpleNamespace(scheme=request.param, address=f"{request.param}://{bucket}", put=put)
    remote.forget()


@pytest.fixture
def speech(tmp_path):
    """A folder of 60 recordings, with a table of them, and one of Kaldi's."""
    folder = tmp_path / "speech"
    (folder / "clips").mkdir(parents=True)
    for n in range(60):
        tone = 0.3 * np.sin(2 * np.pi * (300 + 7 * n) * np.arange(2000) / 8000)
        soundfile.write(folder / f"clips/a_{n}.wav", tone.astype(np.float32), 8000)
        (folder / f"clips/a_{n}.txt").write_text(f"text {n}")
    (folder / "m.tsv").write_text("audio\ttext\n" + "".join(f"clips/a_{n}.wav\ttext {n}\n" for n in range(60)))
    return folder


CORPORA = [
    {"source": "manifest", "path": "m.tsv"},
    {"source": "folder", "path": "clips", "pattern": "{speaker}_{index}.wav"},
]


def prepared(corpus, out: Path) -> Rows:
    remote.forget()
    spec = {"task": "asr", "languages": ["en"], "label": {"corpus": "c"}, "corpus": {"sampling_rate": 8000, **corpus}}
    run(Job(spec | {"inputs": []}, {}, out / "c", out / "state", out / "cache", 1, "cpu"))
    return Rows.open([out / "c"])


def problems(corpus) -> list[str]:
    remote.forget()
    return TABLE[corpus["source"]].problems(corpus, [], Path())


@pytest.mark.parametrize("corpus", CORPORA, ids=lambda corpus: corpus["source"])
def test_a_corpus_in_a_store_is_the_one_on_the_disk(store, speech, corpus, tmp_path, capfd):
    store.put(speech)
    here = prepared(corpus | {"path": str(speech / corpus["path"])}, tmp_path / "here")
    there = corpus | {"path": f"{store.address}/{corpus['path']}"}
    told = prepared(there, tmp_path / "told")
    assert (told.ids, told.targets, told.audio_hashes) == (here.ids, here.targets, here.audio_hashes)
    # the store's likeness of this knows no secrets; what it was asked with is written nowhere
    written = b"".join(path.read_bytes() for path in (tmp_path / "told").rglob("*") if path.is_file())
    said = "".join(capfd.readouterr())
    for secret in (SECRET, KEY):
        assert secret.encode() not in written and secret not in said


@pytest.mark.parametrize("way", ["samples", "flac", "in_place"])
def test_shards_are_read_in_place_and_leave_no_copy(store, speech, way, tmp_path):
    shards = tmp_path / "shards"
    shards.mkdir()
    for n in range(2):
        with tarfile.open(shards / f"{n}.tar", "w") as tar:
            for path in sorted((speech / "clips").iterdir())[60 * n : 60 * (n + 1)]:
                tar.add(path, path.name)
    store.put(shards)
    corpus = {"source": "shards", "sampling_rate": 8000}
    here = prepared(corpus | {"path": str(shards)}, tmp_path / "here")
    there = prepared(corpus | {"path": f"{store.address}/{{0..1}}.tar", "keep_audio": way}, tmp_path / "there")
    assert len(there) == 60 and there.fingerprint == here.fingerprint
    assert all(np.array_equal(here.audio(i), there.audio(i)) for i in range(60))
    assert not [path for path in (tmp_path / "copies" / "objects").rglob("*") if path.is_file()]


def test_one_object_that_changes_is_fetched_and_prepared_and_no_other(store, speech, tmp_path):
    store.put(speech)
    corpus = CORPORA[0] | {"path": f"{store.address}/m.tsv"}
    first = prepared(corpus, tmp_path / "a")
    copies = {path.name for path in (tmp_path / "copies/objects").rglob("*") if path.is_file()}
    assert len(copies) == 61
    # put again with the same bytes, all of them: nothing has changed
    store.put(speech)
    prepared(corpus, tmp_path / "a")
    assert {path.name for path in (tmp_path / "copies/objects").rglob("*") if path.is_file()} == copies
    shutil.copy(speech / "clips/a_1.wav", speech / "clips/a_2.wav")
    store.put(speech)
    second = prepared(corpus, tmp_path / "a")
    assert [a == b for a, b in zip(first.audio_hashes, second.audio_hashes, strict=True)].count(False) == 1
    assert len([path for path in (tmp_path / "copies/objects").rglob("*") if path.is_file()]) == 62


def test_what_is_not_there_is_named(store, speech, tmp_path):
    store.put(speech)
    assert problems({"source": "manifest", "path": f"{store.address}/none.tsv"}) == [
        f"no file {store.address}/none.tsv"
    ]
    nowhere = f"{store.scheme}://no-such-bucket-here/m.tsv"
    assert problems({"source": "manifest", "path": nowhere}) == [f"no file {nowhere}"]


def test_without_a_login_the_error_says_where_one_comes_from(store, monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith(("AWS_ACCESS", "AWS_SECRET", "AZURE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    (said,) = problems({"source": "manifest", "path": f"{store.address}/m.tsv"})
    assert said.startswith(f"{store.address}/m.tsv may not be read")
    assert {"s3": "AWS_ACCESS_KEY_ID", "az": "AZURE_STORAGE_ACCOUNT_NAME"}[store.scheme] in said


def test_a_wrong_key_is_told_without_the_key(az, monkeypatch, tmp_path):
    wrong = az["AZURE_STORAGE_CONNECTION_STRING"].replace("Eby8", "Abcd")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", wrong)
    monkeypatch.setenv("CONSOMME_CACHE", str(tmp_path / "copies"))
    (said,) = problems({"source": "manifest", "path": "az://box/m.tsv"})
    assert "may not be read" in said and KEY[4:] not in said


def test_when_the_store_has_gone_its_copies_are_read(store, speech, monkeypatch, tmp_path, capfd):
    store.put(speech)
    corpus = CORPORA[0] | {"path": f"{store.address}/m.tsv"}
    prepared(corpus, tmp_path / "first")
    nobody = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", nobody)
    told = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={nobody}/{ACCOUNT};"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", told)
    assert len(prepared(corpus, tmp_path / "second")) == 60
    assert "can't be reached" in capfd.readouterr().err
    # not asked for anew, which takes long
    (said,) = TABLE["manifest"].problems({"source": "manifest", "path": f"{store.address}/other.tsv"}, [], Path())
    assert "other.tsv can't be reached" in said and "there is no copy" in said
