"""One bad row costs a corpus that row, and a bad file is an error in words; neither takes the memory or waits for ever."""

import gzip
import json
import multiprocessing
import os
import signal

import numpy as np
import pytest

from consomme.common.errors import ConsommeError
from consomme.data import audio
from consomme.data.pooled import pooled
from consomme.data.sources import lines

GOOD = [{"source": f"good {i}", "target": f"bon {i}"} for i in range(3)]
HALF = "x\ud800"


def records(tmp_path, *more, good=GOOD):
    written = [json.dumps(row) for row in good] + [row if isinstance(row, str) else json.dumps(row) for row in more]
    (tmp_path / "t.jsonl").write_text("\n".join(written) + "\n", encoding="utf-8")
    return {"source": "manifest", "path": "t.jsonl", "max_skipped": 1}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("[" * 100_000, "columns"),
        ('{"source": ' + "[" * 100_000, "columns"),
        ({"source": "a", "target": "b", "id": HALF}, "encoding"),
        ({"source": "a", "target": "b", "document": HALF}, "encoding"),
        ({"source": HALF, "target": "b"}, "encoding"),
        ({"source": [1, 2], "target": "b"}, "not text"),
        ({"source": {"a": 1}, "target": "b"}, "not text"),
        ({"source": True, "target": "b"}, "not text"),
        ({"source": "a", "target": "b", "document": ["c"]}, "not text"),
        ('{"source": "a", "target": "b", "source": "c"}', "columns"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("limit", [None, 50])
def test_a_bad_record_is_skipped(tmp_path, prepare, reasons, row, reason, limit):
    rows = prepare(records(tmp_path, row) | {"limit": limit}, "nmt")
    assert rows.sources == ["good 0", "good 1", "good 2"] and list(reasons().values()) == [reason]


@pytest.mark.parametrize("role", ["id", "speaker", "document", "recording", "audio"])
def test_names_with_halves_of_characters_cost_a_recording(wav, tmp_path, prepare, reasons, role):
    good = [{"audio": str(wav(f"{k}.wav", k)), "text": "a"} for k in range(2)]
    rows = prepare(records(tmp_path, {"audio": "0.wav", "text": "b", role: HALF}, good=good))
    assert len(rows) == 2
    assert list(reasons().values()) == ["encoding"]


def test_numbers_of_any_size_are_spelt_and_none_beyond_all_numbers_is_in_a_range(tmp_path, prepare, reasons):
    huge = {"source": "a", "target": "b", "id": 10**310, "n": 10**310}
    rows = prepare(records(tmp_path, huge, good=[]), "nmt")
    assert rows.ids == ["1" + "0" * 310]
    infinite = '{"source": "a", "target": "b", "id": "i", "n": Infinity}'
    corpus = records(tmp_path, {"source": "c", "target": "d", "n": 2}, infinite, good=[])
    assert prepare(corpus | {"where": {"n": {"from": 1}}}, "nmt").sources == ["c"] and reasons() == {"i": "where"}


def test_ids_that_are_one_in_normal_form_are_numbered(tmp_path, prepare):
    twins = [{"source": "a", "target": "b", "id": spelling} for spelling in ("\u00e9", "e\u0301")]
    assert prepare(records(tmp_path, *twins, good=[]), "nmt").ids == ["\u00e9", "\u00e9#2"]


def test_what_is_listed_can_be_printed(tmp_path, prepare, out):
    with pytest.raises(ConsommeError) as caught:
        prepare(records(tmp_path, {"source": "", "target": "b", "id": "\x1b[2J"}) | {"max_skipped": 0}, "nmt")
    assert "\\x1b[2J" in str(caught.value) and "\x1b" not in str(caught.value)
    prepare(records(tmp_path, {"source": "", "target": "b", "id": "\x1b[2J"}), "nmt")
    assert (out() / "skipped.tsv").read_text().splitlines()[1].startswith("\\x1b[2J\tno text\t")


def test_no_id_is_a_formula_in_the_list_and_all_are_exact_in_the_rows(tmp_path, prepare, out):
    formula = "=HYPERLINK(1)"
    bad, good = ({"source": s, "target": "b", "id": f"{formula}{n}"} for n, s in enumerate(["", "a"]))
    rows = prepare(records(tmp_path, bad, good), "nmt")
    assert (out() / "skipped.tsv").read_text().splitlines()[1].startswith(f"'{formula}0\tno text\t")
    assert rows.ids[-1] == f"{formula}1"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"audio": {"array": [0.1, 0.2], "sampling_rate": "fast"}}, "not text"),
        ({"audio": {"array": [0.1, 0.2], "sampling_rate": [8000]}}, "not text"),
        ({"audio": {"array": [0.1, 0.2], "sampling_rate": float("inf")}}, "not text"),
        ({"audio": {"array": [0.1, 0.2], "sampling_rate": 1}}, "sampling rate"),
        ({"audio": {"array": 5, "sampling_rate": 8000}}, "unreadable"),
        ({"audio": {"array": [0.1, None], "sampling_rate": 8000}}, "unreadable"),
        ({"audio": {"array": ["0.1"], "sampling_rate": 8000}}, "unreadable"),
        ({"audio": {"array": [10**400], "sampling_rate": 8000}}, "unreadable"),
        ({"audio": {"array": [[[0.1]]], "sampling_rate": 8000}}, "unreadable"),
        ({"audio": {"array": [[]], "sampling_rate": 8000}}, "empty"),
        ({"audio": {"array": [0, 40_000], "sampling_rate": 8000}}, "beyond full scale"),
        ({"audio": "0.wav", "start": 0, "end": 1e300}, "not a time"),
        ({"audio": "0.wav", "start": 10**400}, "not a time"),
        ({"audio": "0.wav", "start": 1e308, "duration": 1e308}, "not a time"),
        ({"audio": "0.wav", "language": HALF}, "encoding"),
    ],
    ids=str,
)
def test_a_cell_that_is_no_audio_time_or_language_costs_a_row(wav, tmp_path, prepare, reasons, row, reason):
    good = [{"audio": str(wav("0.wav")), "text": "a", "language": "en"}]
    corpus = records(tmp_path, {"text": "b", "language": "en", **row}, good=good) | {
        "columns": {"language": "language"}
    }
    assert prepare(corpus).targets == ["a"] and list(reasons().values()) == [reason]


def test_whole_numbers_are_16_bit_samples(tmp_path, prepare):
    heard = {"array": [0, 16384, -32768], "sampling_rate": 8000}
    rows = prepare(records(tmp_path, {"audio": heard, "text": "a"}, good=[]))
    assert rows.audio(0).tolist() == [0, 0.5, -1]


# -- audio -------------------------------------------------------------------------------------------------------------


def with_rate(path, rate):
    """Change the rate in the header of a wav."""
    data = bytearray(path.read_bytes())
    data[24:28] = rate.to_bytes(4, "little")
    path.write_bytes(data)


@pytest.mark.parametrize("rate", [1, 44_101, 767_999, 1_000_000_000, 1_000_000_007])
def test_a_rate_that_nothing_records_costs_a_row_and_no_filter_is_made(
    wav, tmp_path, prepare, reasons, monkeypatch, rate
):
    made = []
    monkeypatch.setattr(audio, "_resampler", lambda *rates: made.append(rates))
    for k in range(3):
        wav(f"clips/w_a_{k}.wav", k, seconds=0.1)
    with_rate(tmp_path / "clips/w_a_0.wav", rate)
    corpus = {"source": "folder", "path": "clips", "pattern": "{text}_{speaker}_{index}.wav", "max_skipped": 1}
    assert len(prepare(corpus)) == 2
    assert reasons() == {"w_a_0": "sampling rate"} and not made


@pytest.mark.parametrize("goal", [8000, 16_000, 22_050, 24_000, 44_100, 48_000])
def test_rates_in_use_can_be_resampled(goal):
    for rate in (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000):
        heard = audio.resample(np.zeros(rate // 10, np.float32), rate, goal)
        assert abs(len(heard) - goal / 10) <= 2


def test_a_raw_file_costs_a_row(wav, tmp_path, prepare, reasons):
    (tmp_path / "x.raw").write_bytes(bytes(range(256)) * 40)
    table = "audio\ttext\nx.raw\ta\n" + "".join(f"{wav(f'{k}.wav', k).name}\tb\n" for k in range(2))
    (tmp_path / "t.tsv").write_text(table)
    assert len(prepare({"source": "manifest", "path": "t.tsv", "max_skipped": 1})) == 2
    assert reasons() == {"x.raw": "unreadable"}


# -- packed text -------------------------------------------------------------------------------------------------------


def packed(tmp_path, content, name="p.tsv.gz"):
    (tmp_path / name).write_bytes(content)
    return {"source": "parallel", "path": name}


def test_a_damaged_gzip_file_is_an_error_wherever_it_is_damaged(tmp_path, prepare):
    text = "".join(f"a sentence of {i * 7919 % 1000}\tune phrase {i}\n" for i in range(200)).encode()
    whole = gzip.compress(text, mtime=0)
    for at in range(0, len(whole), 37):
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        try:
            prepare(packed(tmp_path, bytes(damaged)), "nmt", name=f"c{at}")
        except ConsommeError as error:
            assert "p.tsv.gz" in str(error)


@pytest.mark.parametrize("text", [b"a" * 400_000, b"a\tb\n" * 100_000], ids=["one line", "many lines"])
def test_a_gzip_bomb_is_refused_before_it_fills_the_memory(tmp_path, prepare, monkeypatch, text):
    monkeypatch.setattr(lines, "LONGEST", 2**16)
    monkeypatch.setattr(lines, "UNPACKED", 2**18)
    corpus = packed(tmp_path, gzip.compress(text))
    with pytest.raises(ConsommeError, match=r"p.tsv.gz: (line 1 has more than|unpacks to more than)"):
        prepare(corpus, "nmt")


def test_text_that_packs_well_is_read(tmp_path, prepare):
    assert len(prepare(packed(tmp_path, gzip.compress(b"a\tb\n" * 10_000)), "nmt")) == 10_000


# -- many processes ----------------------------------------------------------------------------------------------------


def _kills_itself(row):
    if row == 350:
        os.kill(os.getpid(), signal.SIGKILL)
    return row


def test_a_killed_worker_is_an_error_and_not_a_wait(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with pytest.raises(ConsommeError, match=r"one of 2 processes .* was killed, .* memory"):
        list(pooled(_kills_itself, iter(range(1000)), 2, 30))


def test_workers_end_with_what_is_asked_of_them(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    rows = pooled(abs, iter(range(10**6)), 2, 30)
    assert next(rows) == 0
    children = multiprocessing.active_children()
    rows.close()
    assert children and not any(child.is_alive() for child in children)
