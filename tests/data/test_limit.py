"""`limit` keeps that many of the rows that every other filter leaves, and decodes little more than these."""

import numpy as np
import pytest

from consomme.data import check
from consomme.data.limit import rank


def pairs(tmp_path, sources, name="pairs"):
    for language in ("en", "fr"):
        (tmp_path / f"{name}.{language}").write_text("".join(f"{source}\n" for source in sources))
    return {"source": "parallel", "path": name}


def lowest(ids, most):
    """The ids with the lowest hashes, in their old order."""
    return sorted(sorted(ids, key=rank)[:most], key=list(ids).index)


FILTERS = {
    "min_characters": {"min_characters": 6},
    "where": {"where": {"line": {"from": 21, "to": 40}}},
    "bad": {"max_skipped": 1},
}


@pytest.mark.parametrize("kind", FILTERS)
def test_rows_that_a_filter_leaves_out_do_not_count(kind, tmp_path, prepare):
    good = [f"sentence {n}" for n in range(40)]
    short = {"min_characters": "word", "where": "sentence", "bad": ""}[kind]
    corpus = pairs(tmp_path, [short if n < 20 else text for n, text in enumerate(good)]) | FILTERS[kind]
    left = [f"{n + 1:07d}" for n in range(20, 40)]
    for most in (1, 7, 20, 30):
        assert prepare(corpus | {"limit": most}, "nmt", name=f"n{most}").ids == lowest(left, most)


def test_without_does_not_count(tmp_path, prepare, out, reasons):
    prepare(pairs(tmp_path, [f"sentence {n}" for n in range(0, 30, 2)], "dev"), "nmt", name="dev")
    corpus = pairs(tmp_path, [f"sentence {n}" for n in range(30)])
    rows = prepare(corpus | {"limit": 10}, "nmt", without=[out("dev")])
    assert rows.ids == lowest([f"{n + 1:07d}" for n in range(1, 30, 2)], 10)
    assert set(reasons().values()) == {"limit", "without"}


def test_a_bad_row_costs_no_good_one(wav, prepare, tmp_path):
    names = [f"{n}.wav" for n in range(12)]
    for n, name in enumerate(names):
        wav(name, n) if n % 3 else (tmp_path / name).write_bytes(b"")
    (tmp_path / "m.tsv").write_text("audio\ttext\n" + "".join(f"{name}\tword {name}\n" for name in names))
    rows = prepare({"source": "manifest", "path": "m.tsv", "limit": 5, "max_skipped": 1})
    assert rows.ids == lowest([name for n, name in enumerate(names) if n % 3], 5)
    assert rows.targets == [f"word {name}" for name in rows.ids]
    assert all(np.abs(rows.audio(n)).max() > 0.1 for n in range(5))


def test_most_rows_beyond_the_limit_are_not_decoded(wav, prepare, tmp_path, monkeypatch):
    wav("a.wav")
    (tmp_path / "m.tsv").write_text("id\taudio\ttext\n" + "".join(f"{n}\ta.wav\tword {n}\n" for n in range(500)))
    decoded, read = [], check.audio.read
    monkeypatch.setattr(check.audio, "read", lambda *a: (decoded.append(a), read(*a))[1])
    rows = prepare({"source": "manifest", "path": "m.tsv", "limit": 3})
    assert rows.ids == lowest([str(n) for n in range(500)], 3)
    assert len(decoded) <= 200 + 50  # what is read ahead of the first, and what comes after it


def test_strings_of_recordings_that_are_left_out_do_not_count(wav, prepare):
    for n in range(8):
        wav(f"clips/w{n}_anna_0.wav", n, seconds=0.4 if n < 6 else 2)
    corpus = {"source": "folder", "path": "clips", "pattern": "{text}_{speaker}_{index}.wav", "max_seconds": 1.5}
    join = {"length": [2, 2], "uses": 1, "gap": [0, 0], "seed": 1}
    whole = prepare(corpus | {"join": join}, name="whole").ids
    assert prepare(corpus | {"join": join, "limit": 2}, name="two").ids == lowest(whole, 2)
