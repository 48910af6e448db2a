"""What several working folders share, where CONSOMME_CACHE names a folder."""

import os

import numpy as np
import pytest

from consomme.common.job import Job
from consomme.data import remote
from consomme.data.features import features_of
from consomme.data.labels import labels_of
from consomme.data.prepare import run
from consomme.data.prepared import Rows

from .test_features import PROCESSOR, Frames
from .test_labels import Speller

PATTERN = {"source": "folder", "path": "clips", "pattern": "{text}_{speaker}_{index}.wav"}
FOUND = "found, made in another working folder"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CONSOMME_CACHE", str(tmp_path / "shared"))
    remote.forget()
    yield tmp_path / "shared"
    remote.forget()


@pytest.fixture
def clips(wav):
    for k in range(4):
        wav(f"clips/w{k}_a_{k}.wav", k, seconds=0.1 + 0.01 * k)


@pytest.fixture
def prepared(tmp_path, capfd):
    """Prepares a corpus in a working folder, and gives the rows and whether they were found."""

    def prepare(folder, corpus=PATTERN, root=tmp_path):
        capfd.readouterr()
        spec = {"task": "asr", "languages": ["en"], "name": "c", "corpus": {"sampling_rate": 8000, **corpus}}
        place = tmp_path / folder
        spec |= {"data_root": str(root), "inputs": []}
        run(Job(spec, {}, place / "c", place / "state", place / "cache", 1, "cpu"))
        return Rows.open([place / "c"]), FOUND in capfd.readouterr().err

    return prepare


def test_a_corpus_is_prepared_in_one_of_them(clips, prepared, tmp_path):
    first, found = prepared("one")
    assert not found
    second, found = prepared("two")
    assert found and second.fingerprint == first.fingerprint
    assert os.path.samefile(tmp_path / "one/c/rows.arrow", tmp_path / "two/c/rows.arrow")
    assert prepared("one", PATTERN | {"limit": 2})[1] is False


def test_other_content_is_prepared(clips, prepared, wav):
    prepared("one")
    wav("clips/w1_a_1.wav", 9)
    assert prepared("two")[1] is False


def test_without_the_shared_folder_links_stay(clips, prepared, cache, tmp_path):
    import shutil

    first, _ = prepared("one")
    shutil.rmtree(cache)
    assert len(Rows.open([tmp_path / "one/c"]).audio(0)) == len(first.audio(0))
    assert prepared("two")[1] is False


def test_what_is_damaged_there_is_made_anew(clips, prepared, cache):
    first, _ = prepared("one")
    (rows,) = (cache / "prepared").glob("*/rows.arrow")
    rows.chmod(0o600)
    content = bytearray(rows.read_bytes())
    content[len(content) // 2] ^= 255
    rows.unlink()
    rows.write_bytes(content)
    second, found = prepared("two")
    assert not found and np.array_equal(first.audio(1), second.audio(1))
    assert prepared("three")[1]


def test_rows_in_place_under_a_relative_path_are_not_shared(clips, prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    corpus = PATTERN | {"keep_audio": "in_place"}
    assert [prepared(folder, corpus, root=".")[1] for folder in ("one", "two")] == [False, False]
    assert [prepared(folder, corpus)[1] for folder in ("one", "two")] == [False, True]


def test_features_and_labels_are_computed_in_one_of_them(clips, prepared, tmp_path, cache):
    rows, _ = prepared("one")
    family, speller = Frames(), Speller()
    for folder in ("one", "two"):
        features_of(family, PROCESSOR, rows, tmp_path / folder / "cache", "key")
        labels_of(speller, None, rows, tmp_path / folder / "cache", "key", ["en"])
    assert family.calls == speller.calls == 4
    assert list((cache / "features").iterdir()) and list((cache / "labels").iterdir())


def test_without_a_name_nothing_is_shared(clips, prepared, monkeypatch):
    monkeypatch.delenv("CONSOMME_CACHE")
    assert [prepared(folder)[1] for folder in ("one", "two")] == [False, False]
