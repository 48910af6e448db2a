import itertools

import numpy as np
import pytest

from consomme.common.errors import ConsommeError
from consomme.data import prepared
from consomme.data.overlap import overlap
from consomme.data.prepared import Rows, Writer, clusters


def corpus(folder, rows, task="asr", rate=8000, name=None):
    from consomme.common.files import write_json

    folder.mkdir(parents=True, exist_ok=True)
    with Writer(folder / "rows.arrow", task) as writer:
        for row in rows:
            writer.add({"speaker": None, "document": None, "recordings": [], **row})
    about = {"task": task, "name": name or folder.name, "fingerprint": writer.fingerprint(), "rows": writer.rows}
    write_json(folder / "prepared.json", about | ({"sampling_rate": rate} if task == "asr" else {}))
    return folder


def speech(k, **more):
    samples = np.full(10 + k, k, np.int16)
    return {
        "id": f"r{k}",
        "seconds": len(samples) / 8000,
        "text": f"t{k}",
        "audio_hash": f"h{k}",
        "audio": samples,
    } | more


def pair(k, **more):
    return {"id": f"p{k}", "source": f"source {k}", "target": f"target {k}"} | more


def test_audio_of_any_row_over_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "BATCH_ROWS", 3)
    rows = Rows.open([corpus(tmp_path / "a", map(speech, range(8)))])
    assert len(rows) == 8 and rows.sampling_rate == 8000
    for k in (7, 0, 3, 2, 5):
        assert np.array_equal(rows.audio(k), np.full(10 + k, k / 32768, np.float32))
        assert rows.target(k) == f"t{k}"
    assert rows.audio(1).dtype == np.float32 and rows.audio(1).flags.writeable
    assert rows.lengths.tolist() == rows.seconds.tolist() == [(10 + k) / 8000 for k in range(8)]


def test_several_corpora_are_one_sequence(tmp_path):
    a, b = corpus(tmp_path / "a", map(pair, range(2)), "nmt"), corpus(tmp_path / "b", map(pair, range(5, 8)), "nmt")
    rows = Rows.open({"first": a, "second": b})
    assert rows.ids == ["first:p0", "first:p1", "second:p5", "second:p6", "second:p7"]
    assert rows.corpora == ["first"] * 2 + ["second"] * 3
    assert rows.source(3) == "source 6" and rows.targets[-1] == "target 7"
    assert rows.lengths.tolist() == [8.0] * 5
    chosen = rows.select([4, 0]).select([1, 0])
    assert chosen.ids == ["first:p0", "second:p7"]
    assert rows.select(np.array([False, True, False, False, True])).targets == ["target 1", "target 7"]


def test_fingerprints_tell_contents_apart(tmp_path):
    a = Rows.open([corpus(tmp_path / "a", map(pair, range(3)), "nmt")])
    same = Rows.open([corpus(tmp_path / "b", map(pair, range(3)), "nmt")])
    other = Rows.open([corpus(tmp_path / "c", [pair(0), pair(1), pair(2, target="x")], "nmt")])
    assert a.fingerprint == same.fingerprint != other.fingerprint
    assert len({a.fingerprint, a.select([0]).fingerprint, a.select([1]).fingerprint, a.select([1, 0]).fingerprint}) == 4


def test_a_smaller_share_lies_within_a_larger_one(tmp_path):
    rows = Rows.open([corpus(tmp_path / "a", map(pair, range(100)), "nmt")])
    shares = [rows.share(f, seed=3).ids for f in (0.01, 0.3, 0.7, 1.0)]
    assert list(map(len, shares)) == [1, 30, 70, 100]
    assert all(set(small) <= set(large) for small, large in itertools.pairwise(shares))
    assert shares[1] == sorted(shares[1], key=rows.ids.index)
    assert rows.share(0.3, seed=4).ids != shares[1]
    with pytest.raises(ConsommeError, match="share of 0"):
        rows.share(0)


def test_units_follow_recordings_and_documents(tmp_path):
    rows = [
        speech(0, recordings=["x", "y"]),
        speech(1, recordings=["z"]),
        speech(2),
        speech(3, recordings=["y"], document="d"),
        speech(4, document="d"),
        speech(5, document="x"),  # a document that is called like a recording
        speech(6, recordings=["z", "w"]),
    ]
    assert Rows.open([corpus(tmp_path / "a", rows)]).units.tolist() == [0, 1, 2, 0, 0, 3, 1]


def test_units_by_kind(tmp_path):
    """Each kind holds those before it."""
    rows = Rows.open(
        [
            corpus(
                tmp_path / "a",
                [
                    speech(0, recordings=["x"], document="d", speaker="s"),
                    speech(1, recordings=["x"], document="e", speaker="t"),
                    speech(2, document="d", speaker="u"),
                    speech(3, speaker="t"),
                    speech(4),
                ],
            )
        ]
    )
    assert rows.units_by("recording").tolist() == [0, 0, 1, 2, 3]
    assert rows.units_by("document").tolist() == [0, 0, 0, 1, 2]
    assert rows.units_by("speaker").tolist() == [0, 0, 0, 0, 1]
    assert [rows.unit_word(kind) for kind in ("recording", "document", "speaker")] == ["rows", "documents", "speakers"]
    assert rows.select([4]).unit_word("speaker") == "rows"


def test_clusters_against_a_plain_search():
    rng = np.random.default_rng(0)
    keys = [list(rng.integers(0, 60, rng.integers(0, 3))) for _ in range(60)]
    found = clusters(keys)
    expected = list(range(60))
    for _ in range(60):
        for i in range(60):
            for j in range(60):
                if set(keys[i]) & set(keys[j]):
                    expected[i] = expected[j] = min(expected[i], expected[j])
    assert all((found[i] == found[j]) == (expected[i] == expected[j]) for i in range(60) for j in range(60))


def test_corpora_that_do_not_go_together(tmp_path):
    a, b = corpus(tmp_path / "a", [speech(0)]), corpus(tmp_path / "b", [speech(1)], rate=16000)
    with pytest.raises(ConsommeError, match="sampling_rate is 8000 in 'a', 16000 in 'b'"):
        Rows.open([a, b])
    with pytest.raises(ConsommeError, match="no prepared corpus"):
        Rows.open([tmp_path / "nowhere"])


def test_overlap_counts_rows_of_test(tmp_path):
    train = [speech(0, speaker="s", recordings=["x"]), speech(1, document="d", text="Hello, you")]
    test = [
        speech(0, id="a", text="new", speaker="s"),  # audio and speaker
        speech(7, recordings=["x", "q"], text="hello you!"),  # recording and target
        speech(8, document="d", speaker=None),
        speech(9),
    ]
    a, b = Rows.open([corpus(tmp_path / "a", train)]), Rows.open([corpus(tmp_path / "b", test)])
    assert overlap(a, b) == {"audio": 1, "recording": 1, "speaker": 1, "document": 1, "target": 1}


def test_overlap_of_pairs(tmp_path):
    a = Rows.open([corpus(tmp_path / "a", [pair(0), pair(1)], "nmt")])
    b = Rows.open([corpus(tmp_path / "b", [pair(5, source="SOURCE 1."), pair(6, target="source 1")], "nmt")])
    assert overlap(a, b) == {"recording": 0, "speaker": 0, "document": 0, "target": 0, "source": 1}
