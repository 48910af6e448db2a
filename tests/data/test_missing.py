"""Corpora that have one side only: sentences of one language, recordings without transcripts."""

import pytest

from consomme.common.errors import ConsommeError
from consomme.common.files import read_json


@pytest.mark.parametrize(("missing", "language"), [("source", "fr"), ("target", "en")])
def test_sentences_of_one_language_are_one_file(prepare, out, tmp_path, missing, language):
    (tmp_path / f"mono.{language}").write_text("une phrase\n\nune autre , plus longue\n", encoding="utf-8")
    corpus = {"source": "parallel", "path": "mono", "missing": missing, "max_skipped": 0.5, "max_ratio": 2}
    rows = prepare(corpus, "nmt")
    there, absent = (rows.targets, rows.sources) if missing == "source" else (rows.sources, rows.targets)
    assert there == ["une phrase", "une autre , plus longue"] and absent == ["", ""]
    about = read_json(out() / "prepared.json")
    assert about["missing"] == missing and about["skipped"] == {"no text": 1}
    if missing == "source":
        assert rows.swapped().sources == there and rows.swapped().fingerprint != rows.fingerprint


def test_a_side_that_is_there_is_not_read(prepare, tmp_path):
    (tmp_path / "pairs.tsv").write_text("id\tsource\ttarget\na\tone\tun\nb\t\tdeux\n", encoding="utf-8")
    corpus = {"source": "manifest", "path": "pairs.tsv"}
    rows = prepare({**corpus, "missing": "source"}, "nmt")
    assert (rows.ids, rows.sources, rows.targets) == (["a", "b"], ["", ""], ["un", "deux"])
    with pytest.raises(ConsommeError, match="no text"):
        prepare(corpus, "nmt", "both")


def test_recordings_need_no_transcripts(prepare, wav, tmp_path):
    wav("clips/anna/one.wav", 1)
    wav("clips/anna/two.wav", 2)
    rows = prepare({"source": "folder", "path": "clips", "pattern": "{speaker}/{name}.wav", "missing": "target"})
    assert rows.targets == ["", ""] and rows.speakers == ["anna", "anna"] and len(rows.audio(0)) == 4000
    (tmp_path / "list.csv").write_text("audio\nclips/anna/one.wav\n", encoding="utf-8")
    corpus = {"source": "manifest", "path": "list.csv", "missing": "target"}
    assert prepare(corpus, name="list").targets == [""]
    join = {"length": [2, 2], "uses": 1, "seed": 1}
    strings = {
        "source": "folder",
        "path": "clips",
        "pattern": "{speaker}/{name}.wav",
        "missing": "target",
        "join": join,
    }
    assert prepare(strings, name="strings").targets == [""]


def test_what_is_missing_recurs_nowhere(prepare, out, tmp_path):
    (tmp_path / "mono.fr").write_text("une phrase\nune autre\n", encoding="utf-8")
    (tmp_path / "test.fr").write_text("Une phrase !\n", encoding="utf-8")
    mono = {"source": "parallel", "missing": "source"}
    prepare({**mono, "path": "test"}, "nmt", "test")
    assert prepare({**mono, "path": "mono"}, "nmt", without=[out("test")]).targets == ["une autre"]
