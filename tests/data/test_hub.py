"""Data sets that `datasets` loads: local folders stand for the hub."""

import json

import numpy as np
import pytest

from consomme.common.errors import ConsommeError
from consomme.data.sources import TABLE


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))


@pytest.fixture
def parquet(tmp_path):
    """Writes columns to NAME/PART.parquet; `features` are those that `datasets` notes in it."""
    import pyarrow as pa
    import pyarrow.parquet

    def write(name, columns, part="train", features=None):
        table = pa.table(columns)
        if features:
            info = {"info": {"features": features}}
            table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
        (tmp_path / name).mkdir(exist_ok=True)
        pyarrow.parquet.write_table(table, tmp_path / name / f"{part}.parquet")
        return {"source": "hub", "name": name}

    return write


@pytest.mark.parametrize("streaming", [False, True])
def test_an_audiofolder_needs_no_torchcodec(streaming, wav, prepare, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torchcodec", None)
    for n in range(3):
        wav(f"set/train/c{n}.wav", n)
    (tmp_path / "set/train/metadata.csv").write_text(
        'file_name,transcription\nc0.wav,one\nc1.wav,"two, 2"\nc2.wav,three\n'
    )
    rows = prepare({"source": "hub", "name": "set", "columns": {"text": "transcription"}, "streaming": streaming})
    assert rows.targets == ["one", "two, 2", "three"] and rows.seconds.tolist() == [0.5] * 3


@pytest.mark.parametrize("streaming", [False, True])
def test_audio_as_an_array_and_as_a_path(streaming, wav, parquet, prepare):
    samples = np.sin(np.arange(4000) / 9).astype(np.float32) / 2
    arrays = {"audio": [{"array": samples.tolist(), "sampling_rate": 8000, "path": None}], "text": ["one"]}
    corpus = parquet("arrays", arrays) | {"streaming": streaming}
    heard = prepare(corpus, name="arrays").audio(0)
    assert np.abs(heard - samples).max() < 1e-4
    paths = {"audio": [str(wav("a.wav"))], "text": ["one"]}
    assert len(prepare(parquet("paths", paths) | {"streaming": streaming}, name="paths")) == 1


def test_what_save_to_disk_wrote(wav, prepare, tmp_path):
    import datasets

    table = datasets.Dataset.from_dict({"audio": [str(wav("a.wav"))], "text": ["one"]})
    datasets.DatasetDict({"train": table}).save_to_disk(tmp_path / "saved")
    assert prepare({"source": "hub", "name": "saved"}).targets == ["one"]
    with pytest.raises(ConsommeError, match="no such split; there are train"):
        prepare({"source": "hub", "name": "saved", "split": "dev"}, name="dev")


def test_a_column_of_numbers_as_text(parquet, prepare):
    corpus = parquet("numbers", {"source": ["one and a half", "two"], "target": [1.5, 2.0]})
    assert prepare(corpus, "nmt").targets == ["1.5", "2.0"]


def test_a_column_that_is_no_text_is_counted(parquet, prepare, reasons):
    corpus = parquet("lists", {"source": ["a", "b"], "target": [["x"], ["y", "z"]]})
    with pytest.raises(ConsommeError, match=r"2 not text(?s:.)*row 0: target is \['x'\], and not text"):
        prepare(corpus, "nmt")


def test_an_id_counts_only_if_it_is_named(wav, parquet, prepare):
    columns = {"id": [7, 7], "audio": [str(wav("a.wav", 1)), str(wav("b.wav", 2))], "text": ["one", "one"]}
    corpus = parquet("set", columns)
    assert prepare(corpus).ids == ["0000000", "0000001"]
    assert prepare(corpus | {"columns": {"id": "id"}}, name="named").ids == ["7", "7#2"]


def test_a_column_that_is_not_there_names_the_nearest(parquet, prepare):
    corpus = parquet("set", {"source": ["a"], "target": ["b"], "article": ["c"]})
    with pytest.raises(ConsommeError, match=r"no column 'artikle' for document \(did you mean 'article'\?\)"):
        prepare(corpus | {"columns": {"document": "artikle"}}, "nmt")


def test_streaming_fetches_what_limit_needs(parquet, prepare, tmp_path):
    words = [f"word {n}" for n in range(50)]
    corpus = parquet("set", {"source": words, "target": words}, "train-00000-of-00002")
    (tmp_path / "set/train-00001-of-00002.parquet").write_bytes(b"not fetched")
    corpus |= {"streaming": True, "where": {"target": words[10:]}}
    rows = prepare(corpus | {"limit": 5}, "nmt")
    assert rows.sources == words[10:15]
    about = json.loads((tmp_path / "prepared/corpus/prepared.json").read_text())
    assert about["read"] == 15, "rows that are left out don't count"
    # more than the first part has: the second is opened
    with pytest.raises(ConsommeError, match=r"dataset set .* can't be loaded"):
        prepare(corpus | {"limit": 60}, "nmt", name="more")


def test_all_of_a_stream_is_what_is_loaded_otherwise(parquet, prepare):
    words = [f"word {n}" for n in range(50)]
    corpus = parquet("set", {"source": words, "target": words})
    loaded, streamed = (prepare(corpus | {"streaming": s}, "nmt", name=f"s{s}") for s in (False, True))
    assert loaded.sources == streamed.sources == words and loaded.ids == streamed.ids


@pytest.mark.parametrize("streaming", [False, True])
def test_a_name_that_needs_a_login_says_so(streaming, tmp_path, monkeypatch):
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    def load(*given, **settings):
        raise DatasetNotFoundError("Dataset 'org/private' is a gated dataset on the Hub.")

    monkeypatch.setattr(datasets, "load_dataset", load)
    corpus = {"source": "hub", "name": "org/private", "streaming": streaming}
    with pytest.raises(ConsommeError) as caught:
        next(TABLE["hub"].read(corpus, "asr", [], tmp_path))
    said = str(caught.value)
    assert "dataset org/private" in said and "HF_TOKEN" in said and "huggingface.co/datasets/org/private" in said
