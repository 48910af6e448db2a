import json
import os
import sys
import unicodedata
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from consomme.common.errors import ConsommeError
from consomme.data import audio
from consomme.data import prepare as stage
from consomme.data.pooled import pooled
from consomme.data.text import CONTROLS

PATTERN = {"source": "folder", "path": "clips", "pattern": "{text}_{speaker}_{index}.wav"}


def parallel(tmp_path, english, french, name="pairs"):
    for language, lines in (("en", english), ("fr", french)):
        raw = b"".join((x if isinstance(x, bytes) else x.encode()) + b"\n" for x in lines)
        (tmp_path / f"{name}.{language}").write_bytes(raw)
    return {"source": "parallel", "path": name}


def manifest(tmp_path, rows, columns=("audio", "text")):
    lines = ["\t".join(columns), *("\t".join(map(str, row)) for row in rows)]
    (tmp_path / "table.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"source": "manifest", "path": "table.tsv"}


# -- what is stored ------------------------------------------------------------------------------------------------


def test_samples_of_a_16_bit_file_are_kept_bit_by_bit(wav, prepare, tmp_path):
    samples = np.random.default_rng(0).integers(-32768, 32768, 4000).astype(np.int16)
    wav("clips/a_b_0.wav", samples=samples)
    rows = prepare(PATTERN)
    assert np.array_equal(rows.audio(0), samples / np.float32(32768))
    assert rows.seconds[0] == 0.5


def test_stereo_is_averaged_and_other_rates_resampled(wav, prepare):
    t = np.arange(16000) / 16000
    left, right = 0.4 * np.sin(2 * np.pi * 500 * t), 0.2 * np.sin(2 * np.pi * 500 * t)
    wav("clips/a_b_0.wav", samples=np.stack([left, right], 1), rate=16000)
    heard = prepare(PATTERN).audio(0)
    assert len(heard) == 8000
    expected = 0.3 * np.sin(2 * np.pi * 500 * np.arange(8000) / 8000)
    assert np.abs(heard - expected)[200:-200].max() < 2e-3


def test_every_format_that_soundfile_reads(wav, prepare, tmp_path):
    for k, suffix in enumerate(("flac", "ogg", "mp3")):
        wav(f"clips/x{k}.{suffix}", k)
    table = manifest(tmp_path, [(f"clips/x{k}.{s}", "word") for k, s in enumerate(("flac", "ogg", "mp3"))])
    assert len(prepare(table)) == 3


def test_text_is_nfc_with_single_spaces(tmp_path, prepare):
    corpus = parallel(tmp_path, ["cafe\u0301 \u00a0 noir\t"], ["\ufeffun  café"])
    rows = prepare(corpus, "nmt")
    assert (rows.sources, rows.targets) == (["café noir"], ["un café"])


@pytest.mark.parametrize("between", ["\0", "\r", "\x0b", " \0 \t", "\u3000", "\u2028"])
def test_control_characters_part_words(between, tmp_path, prepare):
    words = ["sleep well", "and until tomorrow, my friend"]
    rows = prepare(parallel(tmp_path, [between.join(words)], [f"{between}{between.join(words)}."]), "nmt")
    assert (rows.sources, rows.targets) == ([" ".join(words)], [f"{' '.join(words)}."])


def test_every_control_character_is_one():
    assert CONTROLS.keys() == {c for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c)) == "Cc"}


@pytest.mark.parametrize("mark", ["\u200b", "\u00ad", "\u2060", "\ufeff"])
def test_marks_for_line_breaks_are_not_stored_and_joiners_are(mark, tmp_path, prepare):
    rows = prepare(parallel(tmp_path, [f"good{mark}night"], ["नमस्\u200dते می\u200cخواهم"]), "nmt")
    assert (rows.sources, rows.targets) == (["goodnight"], ["नमस्\u200dते می\u200cخواهم"])


def test_a_text_of_marks_alone_is_none(tmp_path, prepare, reasons):
    assert len(prepare(parallel(tmp_path, ["a", "\u200b\x01"], ["b", "c"]) | {"max_skipped": 1}, "nmt")) == 1
    assert reasons() == {"0000002": "no text"}


def test_the_normaliser_is_applied(tmp_path, prepare):
    corpus = parallel(tmp_path, ["Hello, World!"], ["Bonjour !"]) | {"normaliser": "basic"}
    assert prepare(corpus, "nmt").sources == ["hello world"]


def test_prepared_json_counts(tmp_path, prepare, out):
    prepare(parallel(tmp_path, ["a b", "c d", "e"], ["x", "y", "z"]) | {"min_characters": 1, "max_ratio": 2}, "nmt")
    about = json.loads((out() / "prepared.json").read_text())
    assert (about["read"], about["rows"], about["skipped"]) == (3, 1, {"ratio": 2})
    assert about["task"] == "nmt" and about["name"] == "corpus"


# -- bad input -----------------------------------------------------------------------------------------------------


def test_each_kind_of_bad_audio_has_its_reason(wav, prepare, reasons, tmp_path):
    wav("good.wav")
    wav("silent.wav", samples=np.zeros(800, np.int16))
    wav("nothing.wav", samples=np.zeros(0, np.int16))
    (tmp_path / "zero.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("this is no sound")
    names = ["good.wav", "gone.wav", "silent.wav", "nothing.wav", "zero.wav", "text.wav", ""]
    rows = [(n, "word") for n in names] + [("good.wav", "  ")]
    table = manifest(tmp_path, [(*r, f"r{k}") for k, r in enumerate(rows)], ("audio", "text", "id"))
    assert prepare(table | {"max_skipped": 1.0}).ids == ["r0"]
    assert reasons() == {
        "r1": "missing",
        "r2": "empty",
        "r3": "empty",
        "r4": "empty",
        "r5": "unreadable",
        "r6": "missing",
        "r7": "no text",
    }


def test_an_overlong_file_is_refused_by_its_header(tmp_path, monkeypatch):
    path = tmp_path / "long.flac"
    with soundfile.SoundFile(path, "w", 8000, 1) as stream:
        for _ in range(40):
            stream.write(np.zeros(60 * 8000, np.int16))
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *a, **k: pytest.fail("decoded"))
    with pytest.raises(audio.BadAudio, match=r"2400\.0 s") as caught:
        audio.decode(path, 30.0)
    assert caught.value.reason == "too long"


def test_a_cap_that_was_asked_for_is_no_fault_of_the_corpus(wav, prepare, reasons):
    wav("clips/a_b_0.wav")
    wav("clips/a_b_1.wav", seconds=2)
    assert len(prepare(PATTERN | {"max_seconds": 1})) == 1
    assert reasons() == {"a_b_1": "longer than asked"}


def test_too_many_bad_rows_stop_with_counts_examples_and_advice(wav, prepare, tmp_path):
    wav("good.wav")
    table = manifest(tmp_path, [("good.wav", "word"), ("gone1.wav", "word"), ("gone2.wav", "x"), ("good.wav", " ")])
    with pytest.raises(ConsommeError) as caught:
        prepare(table)
    said = str(caught.value)
    for part in ("3 of 4", "2 missing", "1 no text", "gone1.wav", "max_skipped: 0.75", "unpacked"):
        assert part in said


def test_a_few_bad_rows_are_allowed(tmp_path, prepare, reasons):
    english = ["word"] * 99 + [b"caf\xe9"]
    assert len(prepare(parallel(tmp_path, english, ["mot"] * 100), "nmt")) == 99
    assert reasons() == {"0000100": "encoding"}


def test_misaligned_files_name_both_and_their_counts(tmp_path, prepare):
    corpus = parallel(tmp_path, ["a", "b"], ["x"])
    with pytest.raises(ConsommeError, match=r"pairs\.en has 2 lines.*pairs\.fr has 1"):
        prepare(corpus, "nmt")


def test_only_a_line_feed_ends_a_line(tmp_path, prepare):
    rows = prepare(parallel(tmp_path, ["one\u2028still one\x0cyes", "two"], ["un", "deux"]), "nmt")
    assert rows.sources == ["one still one yes", "two"]


def test_nothing_left_is_an_error(tmp_path, prepare):
    with pytest.raises(ConsommeError, match=r"none is left.*2 few characters"):
        prepare(parallel(tmp_path, ["a", "b"], ["x", "y"]) | {"min_characters": 5}, "nmt")


def test_a_missing_file_is_named(prepare):
    with pytest.raises(ConsommeError, match=r"nowhere\.en"):
        prepare({"source": "parallel", "path": "nowhere"}, "nmt")


# -- filters -------------------------------------------------------------------------------------------------------


def test_where_takes_values_and_ranges(wav, prepare, reasons):
    for speaker in "ab":
        for k in range(12):
            wav(f"clips/w_{speaker}_{k}.wav", k)
    rows = prepare(PATTERN | {"where": {"speaker": ["a"], "index": {"from": 9, "to": 11}}})
    assert sorted(rows.ids) == ["w_a_10", "w_a_11", "w_a_9"]
    assert set(reasons().values()) == {"where"} and len(reasons()) == 21


def test_where_names_the_columns_there_are(wav, prepare):
    wav("clips/w_a_0.wav")
    with pytest.raises(ConsommeError, match=r"no column 'talker'.*index, speaker, text"):
        prepare(PATTERN | {"where": {"talker": ["a"]}})


def test_limits_are_nested_and_keep_the_order(tmp_path, prepare):
    corpus = parallel(tmp_path, [f"s{k}" for k in range(50)], [f"t{k}" for k in range(50)])
    small, large = (prepare(corpus | {"limit": n}, "nmt", name=f"n{n}").ids for n in (10, 30))
    assert len(small) == 10 and set(small) < set(large) and large == sorted(large)


def test_without_drops_what_recurs_and_says_why(wav, prepare, out, reasons):
    for k in range(3):
        wav(f"test/w{k}_a_{k}.wav", k)
    wav("clips/x_b_9.wav", 0)  # the very audio of test's w0_a_0
    wav("clips/y_b_1.wav", 20)
    wav("clips/W1!_b_2.wav", 21)  # the words of w1_a_1, but for case and punctuation
    wav("clips/z_a_3.wav", 22)  # only the speaker in common
    prepare(PATTERN | {"path": "test"}, name="test")
    rows = prepare(PATTERN, name="train", without=[out("test")])
    assert rows.ids == ["y_b_1", "z_a_3"]
    assert reasons("train") == {"x_b_9": "without", "W1!_b_2": "without"}


def test_without_compares_sources_with_sources(tmp_path, prepare, out):
    prepare(parallel(tmp_path, ["Hello!"], ["Salut"], "t"), "nmt", name="t")
    corpus = parallel(tmp_path, ["hello", "salut", "other"], ["bonjour", "x", "SALUT."])
    assert prepare(corpus, "nmt", without=[out("t")]).sources == ["salut"]


# -- the same again ------------------------------------------------------------------------------------------------


def test_workers_change_nothing(wav, prepare, monkeypatch):
    monkeypatch.setattr("consomme.data.pooled.FEW", 10)
    monkeypatch.setattr("consomme.data.pooled.CHUNK", 3)
    for k in range(20):
        wav(f"clips/w{k}_a_{k}.wav", k, rate=11025, seconds=0.1)
    (wav("clips/bad_a_1.wav")).write_text("no sound")
    corpus = PATTERN | {"max_skipped": 1.0}
    one, two = prepare(corpus, name="one"), prepare(corpus, name="two", threads=2)
    assert one.ids == two.ids and one.fingerprint == two.fingerprint


class Inline:
    """Processes that work when they are asked for results, and the most rows that waited."""

    def __init__(self, threads, context, start, arguments):
        start(*arguments)
        self.waiting = Inline.most = 0

    def shutdown(self, cancel_futures):
        pass

    def submit(self, work, chunk):
        self.waiting += len(chunk)
        Inline.most = max(Inline.most, self.waiting)

        def result():
            self.waiting -= len(chunk)
            return work(chunk)

        return SimpleNamespace(result=result)


def test_of_long_recordings_fewer_wait(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # which the workers set
    monkeypatch.setattr("consomme.data.pooled.ProcessPoolExecutor", Inline)
    minutes = {}
    for longest in (30, 600, float("inf")):
        assert list(pooled(lambda raw: 2 * raw, iter(range(400)), 2, longest)) == list(range(0, 800, 2))
        minutes[longest] = Inline.most * longest / 60
    assert minutes[600] <= minutes[30] and Inline.most == 8  # one each, and a few ahead


def test_recordings_of_ten_minutes_are_prepared_where_they_are_asked_for(prepare, tmp_path, reasons):
    (tmp_path / "clips").mkdir()
    samples = np.random.default_rng(0).integers(-9999, 9999, 600 * 8000).astype(np.int16)
    for name, count in (("whole", 600 * 8000), ("more", 600 * 8000 + 1)):
        soundfile.write(tmp_path / f"clips/{name}_a_0.wav", np.resize(samples, count), 8000)
    rows = prepare(PATTERN | {"max_seconds": 600})
    assert rows.ids == ["whole_a_0"] and rows.seconds[0] == 600 and reasons() == {"more_a_0": "longer than asked"}
    assert np.array_equal(rows.audio(0), samples / np.float32(32768))


def test_a_second_run_computes_nothing_and_new_bytes_do(wav, prepare, monkeypatch):
    path = wav("clips/w_a_0.wav")
    first = prepare(PATTERN).fingerprint
    os.utime(path)
    with monkeypatch.context() as patch:
        patch.setattr(stage, "prepare", lambda *a: pytest.fail("prepared again"))
        assert prepare(PATTERN).fingerprint == first
    wav("clips/w_a_0.wav", 5)
    assert prepare(PATTERN).fingerprint != first


def test_new_audio_under_an_old_manifest_is_seen(wav, prepare, tmp_path):
    wav("a.wav", 0)
    table = manifest(tmp_path, [("a.wav", "word")])
    first = prepare(table).fingerprint
    wav("a.wav", 1)
    assert prepare(table).fingerprint != first


def test_the_fingerprint_is_of_contents_not_of_places(tmp_path, prepare):
    a = prepare(parallel(tmp_path, ["a"], ["x"], "first"), "nmt", name="a").fingerprint
    b = prepare(parallel(tmp_path, ["a"], ["x"], "second"), "nmt", name="b").fingerprint
    c = prepare(parallel(tmp_path, ["a"], ["y"], "third"), "nmt", name="c").fingerprint
    assert a == b != c


def test_the_extent_of_a_corpus_is_written_for_the_plan(tmp_path, prepare, out):
    prepare(parallel(tmp_path, ["a b", "c d", "e"], ["x y", "y", "z"]), "nmt")
    about = json.loads((out() / "prepared.json").read_text())
    assert about["units"] == {"recording": 3, "document": 3, "speaker": 3}
    assert (about["words"], about["characters"]) == (4, 5)
