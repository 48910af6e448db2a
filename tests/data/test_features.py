import threading
import time
import types

import numpy as np
import pytest

from consomme.common.errors import ConsommeError, Unusable
from consomme.data.features import features_of
from consomme.data.prepared import Rows

PATTERN = {"source": "folder", "path": "clips", "pattern": "{text}_{speaker}_{index}.wav"}


class Frames:
    """Stands for a family: ten samples a frame, and a count of what it was asked for."""

    name, languages = "frames", False

    def __init__(self, pause=0.0):
        self.calls, self.pause = 0, pause

    def features(self, processor, source, languages=()):
        self.calls += 1
        time.sleep(self.pause)
        if isinstance(source, str):
            return np.array([ord(c) for c in source], np.int64)
        return source[: len(source) // 10 * 10].reshape(-1, 10) * np.float32(processor.scale)

    def whole(self, *given):
        return self.features(*given)


TOKENIZER = types.SimpleNamespace(model_max_length=512)
PROCESSOR = types.SimpleNamespace(scale=2.0, sampling_rate=8000)


@pytest.fixture
def rows(wav, prepare):
    for k in range(6):
        wav(f"clips/w{k}_a_{k}.wav", k, seconds=0.1 + 0.01 * k)
    return prepare(PATTERN)


def test_frames_are_those_of_the_family_and_computed_once(rows, tmp_path):
    family = Frames()
    first = features_of(family, PROCESSOR, rows, tmp_path / "cache", "key")
    assert family.calls == len(first) == 6
    for i, frames in enumerate(first):
        assert np.array_equal(frames, Frames().features(PROCESSOR, rows.audio(i))) and not frames.flags.writeable
    assert first.lengths.tolist() == [len(f) for f in first] == [80 + 8 * k for k in range(6)]
    assert np.array_equal(first[2:][1], first[3]) and np.array_equal(first[-1], first[5])
    again = features_of(family, PROCESSOR, rows.select([4, 1]), tmp_path / "cache", "key")
    assert family.calls == 6 and np.array_equal(again[0], first[4]) and np.array_equal(again[1], first[1])
    features_of(family, PROCESSOR, rows, tmp_path / "cache", "another processor")
    assert family.calls == 12


def test_processes_that_want_the_same_wait_for_each_other(rows, tmp_path):
    family, found = Frames(pause=0.02), []
    want = lambda: found.append(features_of(family, PROCESSOR, rows, tmp_path / "cache", "key"))  # noqa: E731
    threads = [threading.Thread(target=want) for _ in range(3)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(found) == 3 and family.calls == 6


def test_nothing_is_left_by_a_failure(rows, tmp_path):
    family = Frames()
    family.features = lambda processor, source, languages: 1 / 0
    with pytest.raises(ZeroDivisionError):
        features_of(family, PROCESSOR, rows, tmp_path / "cache", "key")
    assert not [p for p in (tmp_path / "cache" / "features").iterdir() if p.is_dir()]


def test_what_a_killed_job_left_goes_with_the_next(rows, tmp_path):
    features_of(Frames(), PROCESSOR, rows, tmp_path / "cache", "key")
    (place,) = (p for p in (tmp_path / "cache" / "features").iterdir() if p.is_dir())
    left = place.rename(place.with_name(f".{place.name}.0123456789ab"))
    assert len(features_of(Frames(), PROCESSOR, rows, tmp_path / "cache", "key")) == 6
    assert place.is_dir() and not left.exists()


def test_token_ids(tmp_path, prepare):
    (tmp_path / "p.en").write_text("ab\nc\n")
    (tmp_path / "p.fr").write_text("x\ny\n")
    rows = prepare({"source": "parallel", "path": "p"}, "nmt")
    assert [f.tolist() for f in features_of(Frames(), TOKENIZER, rows, tmp_path / "cache", "k")] == [[97, 98], [99]]


def test_a_row_that_the_family_can_not_take_is_empty_and_known(rows, tmp_path):
    class Choosy(Frames):
        def features(self, processor, source, languages=()):
            if len(source) == 880:
                raise Unusable("too odd", f"{len(source)} samples")
            return super().features(processor, source)

    family = Choosy()
    for _ in range(2):  # computed, and from the cache
        found = features_of(family, PROCESSOR, rows, tmp_path / "cache", "key")
        assert found.problems == {1: ("too odd", "too odd: 880 samples")}
        assert found.lengths.tolist() == [80, 0, 96, 104, 112, 120] and found[1].shape == (0, 10)
        assert features_of(family, PROCESSOR, rows.select([4, 1]), tmp_path / "cache", "key").problems.keys() == {1}
        assert found[2:].problems == {}
    assert family.calls == 5


def test_what_goes_wrong_otherwise_names_its_row(rows, tmp_path):
    family = Frames()
    family.features = lambda processor, source, languages: 1 / 0
    with pytest.raises(ZeroDivisionError) as caught:
        features_of(family, PROCESSOR, rows, tmp_path / "cache", "key")
    assert rows.ids[0] in caught.value.__notes__[0]


def test_sentences_are_kept_by_what_the_model_takes(tmp_path, prepare):
    """Models with the same tokenizer and more positions take more of them."""
    (tmp_path / "p.en").write_text("ab\nc\n")
    (tmp_path / "p.fr").write_text("x\ny\n")
    rows, family = prepare({"source": "parallel", "path": "p"}, "nmt"), Frames()
    for most in (512, 1024, 512):
        processor = types.SimpleNamespace(model_max_length=10**30, most_tokens={"source": most})
        features_of(family, processor, rows, tmp_path / "cache", "k")
    assert family.calls == 4


def test_a_processor_for_another_rate_is_refused(rows, tmp_path):
    with pytest.raises(ConsommeError, match=r"wants 16000 Hz.*prepared at 8000"):
        features_of(Frames(), types.SimpleNamespace(sampling_rate=16000), rows, tmp_path, "k")


class Told(Frames):
    """Its features begin with the language."""

    languages = True

    def features(self, processor, source, languages=()):
        self.calls += 1
        return np.array([ord(c) for c in f"{languages[0]}{source}"], np.int64)

    def whole(self, *given):
        return self.features(*given)


def test_features_that_depend_on_languages_are_kept_apart_by_them(tmp_path, prepare):
    (tmp_path / "pairs.tsv").write_text("ab\tx\nc\ty\n", encoding="utf-8")
    corpus, family = {"source": "parallel", "path": "pairs.tsv"}, Told()

    def of(rows, languages):
        return ["".join(map(chr, f)) for f in features_of(family, TOKENIZER, rows, tmp_path / "cache", "k", languages)]

    plain = prepare(corpus, "nmt", name="plain")
    assert of(plain, ("e", "f")) == ["eab", "ec"] and of(plain, ("g", "f")) == ["gab", "gc"]
    named = prepare(corpus | {"languages": ["h", "f"]}, "nmt", name="named")
    assert of(named, ("e", "f")) == ["hab", "hc"]
    assert of(plain, ("e", "f")) == ["eab", "ec"] and family.calls == 6  # kept from before


class Timed(Frames):
    """Tells how long its features are."""

    def length(self, processor, samples):
        if samples < 900:
            raise Unusable("too short", f"{samples} samples")
        return samples // 10

    def features(self, processor, source, languages=()):
        self.length(processor, len(source))
        return super().features(processor, source)


@pytest.mark.parametrize("way", ["flac", "in_place"])
def test_of_samples_that_are_not_kept_features_are_neither(way, rows, prepare, tmp_path):
    other = prepare({**PATTERN, "keep_audio": way}, name=way)
    family, cache = Timed(), tmp_path / "cache"
    found = features_of(family, PROCESSOR, other, cache, "key")
    assert not found.kept and family.calls == 0
    assert found.lengths.tolist() == [0, 0, 96, 104, 112, 120]
    assert found.problems == {i: ("too short", f"too short: {800 + 80 * i} samples") for i in (0, 1)}
    expected = features_of(Frames(), PROCESSOR, rows, tmp_path / "other", "key")
    for _ in range(2):
        for i in range(2, 6):
            assert np.array_equal(found[i], expected[i])
        assert np.array_equal(found[2:][1], expected[3]) and len(found[0]) == 0
    assert family.calls == 10 and not (cache / "features").exists()


def test_a_family_that_can_not_tell_their_lengths_has_them_kept(rows, prepare, tmp_path):
    class Silent(Frames):
        def length(self, processor, samples):
            return None

    other, family = prepare({**PATTERN, "keep_audio": "flac"}, name="flac"), Silent()
    for _ in range(2):
        found = features_of(family, PROCESSOR, other, tmp_path / "cache", "key")
        assert found.kept and found.lengths.tolist() == [80 + 8 * k for k in range(6)]
    assert family.calls == 6


def test_corpora_of_both_kinds_go_together(rows, prepare, out, tmp_path):
    prepare({**PATTERN, "keep_audio": "flac"}, name="flac")
    both = Rows.open([out(), out("flac")])
    found = features_of(Timed(), PROCESSOR, both.select([2, 8]), tmp_path / "cache", "key")
    assert np.array_equal(found[0], found[1])


def test_features_do_not_depend_on_the_number_of_threads(prepare, wav, folders, tmp_path, monkeypatch):
    import torch

    from consomme.families import family_named

    for k in range(4):
        wav(f"clips/w{k}_a_{k}.wav", samples=np.random.default_rng(k).uniform(-0.3, 0.3, 40000 + 999 * k), rate=16000)
    family = family_named("ctc")
    processor = family.processor(folders("ctc"))
    found = {}
    before = torch.get_num_threads()
    for way in ("samples", "flac"):
        rows = prepare({**PATTERN, "sampling_rate": 16000, "keep_audio": way}, name=way)
        for threads in (1, 3):
            torch.set_num_threads(threads)
            made = features_of(family, processor, rows, tmp_path / f"{way}{threads}", "key", ["en"])
            found[way, threads] = [made[i].copy() for i in range(4)]
            assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    first, *others = found.values()
    assert all(np.array_equal(a, b) for other in others for a, b in zip(first, other, strict=True))
