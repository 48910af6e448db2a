import collections
import random

import numpy as np
import pytest

from consomme.common.errors import ConsommeError
from consomme.data.join import join_plan, strings_of

PATTERN = {"source": "folder", "path": "clips", "pattern": "{text}_{speaker}_{index}.wav"}


@pytest.mark.parametrize("uses", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_every_recording_is_dealt_as_often_as_asked_and_never_twice_in_a_string(count, uses):
    for seed in range(20):
        strings = strings_of(range(count), (3, 6), uses, random.Random(seed))
        assert collections.Counter(r for s in strings for r in s) == dict.fromkeys(range(count), uses)
        assert all(len(set(s)) == len(s) <= 6 for s in strings)
        if uses == 1:
            assert all(len(s) >= 3 for s in strings[:-1])


def test_a_speakers_strings_depend_on_that_speaker_alone():
    join = {"length": [2, 3], "uses": 2, "gap": [0.0, 0.1], "seed": 4}
    both, one = join_plan({"b": [5, 6, 7, 8], "a": [0, 1, 2]}, join), join_plan({"b": [5, 6, 7, 8]}, join)
    assert [s for s in both if s[0].startswith("b")] == one
    assert join_plan({"b": [5, 6, 7, 8]}, join | {"seed": 5}) != one


def test_strings_are_their_recordings_with_silence_between(wav, prepare, tmp_path):
    for speaker in "ab":
        for k in range(5):
            wav(f"clips/{k}_{speaker}_{k}.wav", k, seconds=0.2)
    singles = prepare(PATTERN, name="singles")
    join = {"length": [2, 2], "uses": 1, "gap": [0.05, 0.1], "seed": 1}
    rows = prepare(PATTERN | {"join": join}, name="strings")
    assert rows.ids == [f"{s}-0000{n}" for s in "ab" for n in (1, 2, 3)]
    assert not list((tmp_path / "state").rglob("work/singles/rows.arrow"))  # nothing in between is left behind
    place = {r[0]: i for i, r in enumerate(singles.recordings)}
    for i, names in enumerate(rows.recordings):
        parts = [singles.audio(place[n]) for n in names]
        assert rows.target(i) == " ".join(singles.target(place[n]) for n in names)
        assert {singles.speakers[place[n]] for n in names} == {rows.speakers[i]}
        heard = rows.audio(i)
        assert np.array_equal(heard[: len(parts[0])], parts[0])
        if len(parts) == 2:
            assert np.array_equal(heard[-len(parts[1]) :], parts[1])
            gap = len(heard) - len(parts[0]) - len(parts[1])
            assert 0.05 * 8000 - 1 <= gap <= 0.1 * 8000 + 1
            silence = np.rint(heard[len(parts[0]) : len(parts[0]) + gap] * 32768)
            assert np.abs(silence).max() == 1  # dither, and no more


def test_limits_on_seconds_hold_for_the_strings(wav, prepare, reasons):
    for k in range(5):
        wav(f"clips/{k}_a_{k}.wav", k, seconds=0.2)
    join = {"length": [2, 2], "uses": 1, "gap": [0, 0], "seed": 1}
    assert len(prepare(PATTERN | {"join": join, "min_seconds": 0.3})) == 2
    assert reasons() == {"a-00003": "too short"}


def test_a_string_needs_a_speaker(wav, prepare):
    wav("clips/a.wav")
    corpus = {"source": "folder", "path": "clips", "pattern": "{text}.wav", "join": {"length": [2, 3]}}
    with pytest.raises(ConsommeError, match="no speaker"):
        prepare(corpus)


def test_digit_strings(shared, prepare, reasons):
    corpus = {
        "source": "folder",
        "path": "fsdd/recordings",
        "pattern": "{text}_{speaker}_{index}.wav",
        "texts": {"0": "zero", "1": "one", "2": "two"},
        "where": {"text": [0, 1, 2], "speaker": ["theo", "nicolas"], "index": {"from": 0, "to": 4}},
        "join": {"length": [3, 6], "uses": 1, "gap": [0.0, 0.1], "seed": 1},
    }
    rows = prepare(corpus, root=shared)
    assert sum(map(len, rows.recordings)) == 30 == len({r for rs in rows.recordings for r in rs})
    assert {w for t in rows.targets for w in t.split()} == {"zero", "one", "two"}
    assert len(set(rows.units.tolist())) == len(rows)
