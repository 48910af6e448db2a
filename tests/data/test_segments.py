"""Rows that are cut out of longer recordings by their times."""

import json

import numpy as np
import pytest

from consomme.data import audio
from consomme.data.sources import TABLE

RATE = 8000


@pytest.fixture
def steps(wav):
    """Writes a recording whose samples say when they are: second n holds the value (n + 1) / 100."""

    def write(name, seconds=10):
        return wav(name, samples=(np.arange(seconds * RATE) // RATE + 1).astype(np.float32) / 100)

    return write


def table(tmp_path, rows, columns=("audio", "start", "end", "text")):
    lines = ["\t".join(columns), *("\t".join(map(str, row)) for row in rows)]
    (tmp_path / "m.tsv").write_text("\n".join(lines) + "\n")
    return {"source": "manifest", "path": "m.tsv", "max_skipped": 1}


def heard(rows, n):
    """First and last second that a row holds, from 0, and its length in seconds."""
    samples = rows.audio(n)
    return round(float(samples[0]) * 100) - 1, round(float(samples[-1]) * 100) - 1, len(samples) / RATE


def test_start_and_end_cut_rows_out(steps, prepare, tmp_path):
    steps("long.wav")
    rows = prepare(table(tmp_path, [("long.wav", 2, 5, "a"), ("long.wav", "", 1.5, "b"), ("long.wav", 8.25, "", "c")]))
    assert [heard(rows, n) for n in range(3)] == [(2, 4, 3), (0, 1, 1.5), (8, 9, 1.75)]
    assert rows.ids == ["long.wav@2-5", "long.wav@0-1.5", "long.wav@8.25-"]
    assert rows.recordings == [["long.wav"]] * 3, "segments of one recording are no independent units"
    assert rows.units.tolist() == [0, 0, 0]


def test_columns_of_other_names_and_none(steps, prepare, tmp_path):
    steps("long.wav")
    corpus = table(tmp_path, [("long.wav", 2, 5, "a")], ("audio", "from", "to", "text"))
    assert heard(prepare(corpus | {"columns": {"start": "from", "end": "to"}}), 0) == (2, 4, 3)
    corpus = table(tmp_path, [("long.wav", 2, 5, "a")])
    assert heard(prepare(corpus | {"columns": {"start": "", "end": ""}}, name="whole"), 0) == (0, 9, 10)


def test_offset_and_duration_of_nemo(steps, prepare, tmp_path):
    steps("long.wav")
    rows = [
        {"audio_filepath": "long.wav", "offset": 2.0, "duration": 3.0, "text": "a"},
        {"audio_filepath": "long.wav", "duration": 10.0, "text": "whole"},
        {"audio_filepath": "long.wav", "offset": 0, "duration": 1, "text": "c"},
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rows = prepare({"source": "manifest", "path": "m.jsonl", "columns": {"audio": "audio_filepath"}})
    assert [heard(rows, n) for n in range(3)] == [(2, 4, 3), (0, 9, 10), (0, 0, 1)]


def test_each_kind_of_bad_times_has_its_reason(steps, prepare, reasons, tmp_path):
    steps("long.wav")
    times = {
        "good": (9, 10.004),
        "backwards": (5, 2),
        "nothing": (3, 3),
        "beyond": (8, 10.5),
        "behind": (11, ""),
        "word": ("two", 5),
        "negative": (-1, 2),
        "nan": ("nan", 2),
        "comma": ("2,5", 4),
    }
    corpus = table(
        tmp_path,
        [(name, "long.wav", *cells, name) for name, cells in times.items()],
        ("id", "audio", "start", "end", "text"),
    )
    assert prepare(corpus).ids == ["good"]
    assert reasons() == {
        "backwards": "end before start",
        "nothing": "end before start",
        "beyond": "beyond the end",
        "behind": "beyond the end",
        "word": "not a time",
        "negative": "not a time",
        "nan": "not a time",
        "comma": "not a time",
    }


def test_a_segment_of_a_recording_that_is_too_long_as_a_whole(steps, prepare, reasons, tmp_path):
    steps("long.wav")
    corpus = table(tmp_path, [("long.wav", 2, 5, "a"), ("long.wav", 2, 9, "b")]) | {"max_seconds": 4}
    assert len(prepare(corpus)) == 1 and set(reasons().values()) == {"longer than asked"}


def test_segments_that_overlap_are_counted_and_kept(steps, prepare, out, capsys, tmp_path):
    steps("a.wav")
    steps("b.wav")
    rows = [("a.wav", 5, 8, "late"), ("a.wav", 0, 5.005, "early"), ("a.wav", 4, 6, "middle"), ("b.wav", 4, 6, "other")]
    assert len(prepare(table(tmp_path, rows))) == 4
    assert json.loads((out() / "prepared.json").read_text())["overlapping"] == 2
    assert "2 segments overlap in time" in capsys.readouterr().err


def test_the_same_segment_twice_is_a_duplicate(steps, prepare, reasons, tmp_path):
    steps("a.wav")
    rows = [("a.wav", 0, 2, "one"), ("a.wav", 0, 2, "one"), ("a.wav", 2, 4, "one")]
    assert len(prepare(table(tmp_path, rows))) == 2 and reasons() == {"a.wav@0-2#2": "duplicate"}


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_what_is_cut_is_what_the_whole_holds_there(suffix, wav):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 20 * RATE).astype(np.float32)
    path = wav(f"long.{suffix}", samples=noise)
    whole, _ = audio.decode(path)
    for start, end in ((0, 0.5), (7.3, 8.1), (19, 20)):
        part, _ = audio.decode(path, 1.0, start, end)
        expected = whole[round(start * RATE) : round(end * RATE)]
        assert len(part) == len(expected)
        # a lossy decoder starts without what came before
        assert np.abs(part - expected)[400:].max() < 1e-3


def test_only_what_is_asked_for_is_decoded(steps, monkeypatch):
    import soundfile

    path, read, decoded = steps("long.wav", 100), soundfile.SoundFile.read, []
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *a, **k: (decoded.append(k["frames"]), read(*a, **k))[1])
    audio.decode(path, 30, 90, 92)
    assert decoded == [2 * RATE]


def test_times_of_a_data_set_of_the_hub_count_only_if_they_are_named(steps, prepare, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    (tmp_path / "set").mkdir()
    row = {"audio": str(steps("long.wav")), "text": "a", "start": 2.0, "end": 5.0}
    (tmp_path / "set/train.jsonl").write_text(json.dumps(row) + "\n")
    corpus = {"source": "hub", "name": "set"}
    assert heard(prepare(corpus), 0) == (0, 9, 10)
    assert heard(prepare(corpus | {"columns": {"start": "start", "end": "end"}}, name="cut"), 0) == (2, 4, 3)


def test_a_role_of_times_is_one_of_speech():
    assert TABLE["manifest"].settings(path="m.tsv", columns={"duration": "length"}).columns == {"duration": "length"}
