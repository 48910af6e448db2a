"""Recordings are known by their sound after they were resampled, made louder, trimmed, padded or coded, and takes of the same
words are told apart."""

import io

import numpy as np
import pytest
import soundfile

from consomme.data import audio, sound
from consomme.data.overlap import in_common

RATE = 16000


def spoken(seed, take=0, syllables=22):
    """Syllables of two formants over a pitch that falls: float32 [samples], some four seconds. Takes of one seed say the same a
    little otherwise."""
    words, manner = np.random.default_rng(seed), np.random.default_rng([seed, take])
    pieces = []
    for _ in range(syllables):
        pitch, one, two, long, pause = words.uniform((90, 300, 900, 0.09, 0.01), (180, 900, 1900, 0.25, 0.08))
        pitch, long, pause = np.array([pitch, long, pause]) * (1 + 0.06 * manner.standard_normal(3) * bool(take))
        time = np.arange(int(long * RATE)) / RATE
        harmonics = np.arange(1, int(3000 / pitch)) * pitch
        loud = np.exp(-(((harmonics - one) / 120) ** 2)) + 0.6 * np.exp(-(((harmonics - two) / 160) ** 2))
        wave = (loud[:, None] * np.sin(2 * np.pi * harmonics[:, None] * (time - 0.1 * time**2))).sum(axis=0)
        pieces += [wave * np.hanning(len(time)), np.zeros(int(pause * RATE))]
    whole = np.concatenate(pieces)
    return (0.1 * whole / np.abs(whole).max() + 1e-4 * words.standard_normal(len(whole))).astype(np.float32)


def coded(samples):
    stream = io.BytesIO()
    soundfile.write(stream, samples, RATE, format="MP3", subtype="MPEG_LAYER_III")
    stream.seek(0)
    return soundfile.read(stream, dtype="float32")[0]


TREATMENTS = {
    "resampled": lambda x: audio.resample(audio.resample(x, RATE, 8000), 8000, RATE),
    "louder": lambda x: 3.16 * x,
    "quieter": lambda x: x / 3.16,
    "trimmed": lambda x: x[4803:-4801],
    "padded": lambda x: np.pad(x, (7001, 3333)),
    "coded": coded,
    "all of it": lambda x: coded(audio.resample(audio.resample(x[4803:-4801] / 2, RATE, 8000), 8000, RATE)),
}


@pytest.fixture
def corpus(wav, prepare):
    """`corpus("name", [samples, ...])`: prepared rows."""

    def made(name, recordings):
        for n, samples in enumerate(recordings):
            wav(f"{name}/word_{name}{n}.wav", samples=np.asarray(samples, np.float32), rate=RATE)
        pattern = {"source": "folder", "path": name, "pattern": "{text}_{index}.wav", "sampling_rate": RATE}
        return prepare(pattern, name=name)

    return made


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_a_recording_is_known_after_treatment_and_others_are_not(treatment, corpus, tmp_path):
    train = corpus("train", [spoken(n) for n in range(4)])
    test = corpus("test", [spoken(8), TREATMENTS[treatment](spoken(2)), spoken(9)])
    assert in_common(train, test, tmp_path / "cache")["sound"] == [False, True, False]
    assert in_common(test, train, tmp_path / "cache")["sound"] == [False, False, True, False]


def test_takes_of_the_same_words_are_other_sounds(corpus, tmp_path):
    train, test = (corpus(name, [spoken(n, take) for n in range(4)]) for name, take in (("train", 1), ("test", 2)))
    assert in_common(train, test, tmp_path / "cache")["sound"] == [False] * 4


def test_the_same_bytes_are_the_same_audio_and_no_other_sound(corpus, tmp_path):
    train, test = corpus("train", [spoken(1), spoken(2)]), corpus("test", [spoken(2), 2 * spoken(1)])
    found = in_common(train, test, tmp_path / "cache")
    assert (found["audio"], found["sound"]) == ([True, False], [False, True])
    assert "sound" not in in_common(train, test)


def test_landmarks_are_taken_once_and_rows_of_a_selection_are_their_own(corpus, tmp_path, monkeypatch):
    train, test = corpus("train", [spoken(n) for n in range(3)]), corpus("test", [2 * spoken(n) for n in (2, 0, 7)])
    assert sound.heard(train, test, tmp_path / "cache") == [True, True, False]
    monkeypatch.setattr(sound, "landmarks", None)
    assert sound.heard(train.select([1, 0]), test.select([2, 1, 0]), tmp_path / "cache") == [False, True, False]
    monkeypatch.setattr(sound, "CHUNK", 1)  # landmarks that are looked up at once: a row, however many it has
    assert sound.heard(train, test, tmp_path / "cache") == [True, True, False]


def test_what_is_too_short_or_has_no_peaks_has_no_sound():
    for samples in (np.zeros(0), np.ones(100), np.zeros(RATE), np.full(RATE, 5000)):
        times, bits = sound.landmarks(samples.astype(np.int16), RATE)
        assert len(times) == len(bits) == 0
