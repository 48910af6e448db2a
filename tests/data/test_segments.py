"""Rows that are cut out of longer recordings by their times."""

import json

import numpy as np
import pytest

from consomme.common.errors import ConsommeError
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


# -- Kaldi -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def kaldi(tmp_path):
    """Writes the files of a data directory and returns its corpus."""

    def write(**files):
        (tmp_path / "data").mkdir(exist_ok=True)
        for name, text in files.items():
            (tmp_path / "data" / name.replace("wav", "wav.scp")).write_text(text, encoding="utf-8")
        return {"source": "kaldi", "path": "data", "max_skipped": 1}

    return write


def test_segments_of_kaldi(steps, kaldi, prepare):
    steps("audio/long.wav")
    rows = prepare(
        kaldi(
            wav="rec1 audio/long.wav\n",
            segments="a-1 rec1 2.0 5.0\na-2\trec1 0 1.5\nb-1 rec1 8.25 -1\n",
            text="a-1 one  two\na-2\tthree\nb-1 four\n",
            utt2spk="a-1 a\na-2 a\nb-1 b\n",
        )
    )
    assert (rows.ids, rows.targets, rows.speakers) == (
        ["a-1", "a-2", "b-1"],
        ["one two", "three", "four"],
        ["a", "a", "b"],
    )
    assert [heard(rows, n) for n in range(3)] == [(2, 4, 3), (0, 1, 1.5), (8, 9, 1.75)]
    assert rows.recordings == [["rec1"]] * 3


def test_kaldi_without_segments(steps, kaldi, prepare, tmp_path):
    steps("a b.wav", 2)
    rows = prepare(kaldi(wav=f"u1 {tmp_path}/a b.wav\n", text="u1 one\n"))
    assert (rows.ids, rows.targets, rows.speakers) == (["u1"], ["one"], [None]) and heard(rows, 0) == (0, 1, 2)


def test_each_fault_of_a_data_directory_has_its_reason(steps, kaldi, prepare, reasons):
    steps("long.wav")
    names = ("good", "untold", "backwards", "beyond", "nowhere", "piped", "few", "gone")
    corpus = kaldi(
        wav="r long.wav\np sox x.wav -t wav - |\ng gone.wav\n",
        segments="good r 0 1\nuntold r 1 2\nbackwards r 3 2\nbeyond r 9 12\nnowhere q 1 2\npiped p 0 1\nfew r 2\ngone g 0 1\n",
        text="".join(f"{name} word\n" for name in names if name != "untold") + "unheard word\n",
    )
    assert prepare(corpus).ids == ["good"]
    assert reasons() == {
        "untold": "no text",
        "backwards": "end before start",
        "beyond": "beyond the end",
        "nowhere": "missing",
        "piped": "command",
        "few": "columns",
        "gone": "missing",
        "unheard": "missing",
    }


def test_an_utterance_twice_and_a_file_that_is_not_there(kaldi, tmp_path):
    corpus = kaldi(wav="u1 a.wav\nu1 b.wav\n", text="u1 one\n")
    with pytest.raises(ConsommeError, match=r"wav\.scp: line 2 has 'u1' a second time"):
        list(TABLE["kaldi"].read(corpus, "asr", [], tmp_path))
    (tmp_path / "data/text").unlink()
    (problem,) = TABLE["kaldi"].check(corpus, [], tmp_path)
    assert problem.endswith("data/text") and TABLE["kaldi"].check(corpus | {"missing": "target"}, [], tmp_path) == []


def test_a_recording_that_is_replaced_is_noticed(steps, kaldi, tmp_path):
    corpus = kaldi(wav="r long.wav\np sox x |\n", text="r one\n")
    seen = []
    for seconds in (2, 3):
        steps("long.wav", seconds)
        seen.append(TABLE["kaldi"].inventory(corpus, [], tmp_path, tmp_path / "cache"))
    assert seen[0] != seen[1]


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_segments_of_a_file_that_was_cut_short(suffix, wav, prepare, reasons, tmp_path):
    """What is still there is read; what lies behind has a reason."""
    path = wav(f"long.{suffix}", samples=np.random.default_rng(0).uniform(-0.5, 0.5, 20 * RATE).astype(np.float32))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    rows = prepare(table(tmp_path, [(path.name, 2, 5, "there"), (path.name, 15, 18, "gone")]))
    assert rows.targets == ["there"] and reasons().popitem()[1] in ("beyond the end", "truncated")
