from pathlib import Path

import numpy as np
import pytest
import soundfile

from consomme.common.errors import ConsommeError
from consomme.train.augment import Augmenter, Context, gain, noise, pitch, spec_augment, speed

HERE = Context(rate=16000, stride=2, root=Path())
MASKS = {"time_masks": 2, "time_width": 0.2, "frequency_masks": 2, "frequency_width": 4}


def draws(seed=0):
    return np.random.default_rng(seed)


def test_the_random_numbers_of_an_utterance_depend_on_seed_turn_corpus_and_id_only():
    def first(seed=1, turn=0, corpus="a", identity="x"):
        return Augmenter({}, HERE, seed).generator(turn, corpus, identity).random()

    assert first() == first()
    assert len({first(), first(seed=2), first(turn=1), first(corpus="b"), first(identity="y")}) == 5


def test_masks_hold_the_mean_and_leave_the_rest_and_the_original_alone():
    features = draws().normal(3, 1, (50, 16)).astype(np.float32)
    before = features.copy()
    masked = spec_augment.build(MASKS, HERE)(features, draws(1))
    assert np.array_equal(features, before) and masked.shape == features.shape
    changed = masked != features
    assert changed.any() and np.allclose(masked[changed], features.mean(), atol=1e-5)


def test_joined_frames_are_masked_by_mel_bin():
    features = draws().normal(0, 1, (50, 16)).astype(np.float32)
    settings = {"time_masks": 0, "time_width": 0.0, "frequency_masks": 1, "frequency_width": 8}
    changed = spec_augment.build(settings, HERE)(features, draws(4)) != features
    assert changed.any() and np.array_equal(changed[:, :8], changed[:, 8:])  # both mel vectors of a frame


def test_masks_are_as_wide_and_as_placed_as_those_of_torchaudio():
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchaudio.functional")
    generator, ours, theirs = draws(), np.zeros(40), np.zeros(40)
    torch.manual_seed(0)
    for _ in range(4000):
        ours[spec_augment.band(40, 12, generator)] += 1
        theirs += functional.mask_along_axis(torch.zeros(1, 2, 40), 12, 1.0, 2)[0, 0].numpy()
    assert np.abs(ours - theirs).max() / 4000 < 0.04
    assert ours.sum() == pytest.approx(theirs.sum(), rel=0.05)


def test_speed_changes_length_and_pitch_by_its_factor():
    wave = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000).astype(np.float32)
    fast = speed.change(wave, draws(), [1.1], 16000)
    assert len(fast) == pytest.approx(16000 / 1.1, abs=2) and fast.dtype == np.float32
    peak = np.abs(np.fft.rfft(fast)).argmax() * 16000 / len(fast)
    assert peak == pytest.approx(484, abs=2)
    assert speed.change(wave, draws(), [1.0], 16000) is wave
    assert speed.change(wave, draws(), [0.9], 16000, longest=17000) is wave  # would not fit the model's window


@pytest.mark.parametrize("semitones", [-4, -1, 3, 12])
def test_pitch_moves_the_tone_and_not_the_length(semitones):
    wave = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000).astype(np.float32)
    shifted = pitch.change(wave, draws(), [semitones], 16000)
    assert shifted.shape == wave.shape and shifted.dtype == np.float32
    peak = np.abs(np.fft.rfft(shifted)).argmax()
    assert peak == pytest.approx(440 * 2 ** (semitones / 12), rel=0.01)


def test_pitch_leaves_alone_what_is_not_shifted_or_shorter_than_a_window():
    wave = draws().standard_normal(400).astype(np.float32)
    assert pitch.change(wave, draws(), [0], 16000) is wave and pitch.change(wave, draws(), [3], 16000) is wave


def test_gain_is_drawn_between_its_ends_and_changes_nothing_else():
    wave = draws().standard_normal(1000).astype(np.float32)
    change = gain.build([-6, 12], HERE)
    generator = draws()
    factors = [change(wave, generator)[0] / wave[0] for _ in range(1000)]
    decibels = 20 * np.log10(factors)
    assert -6 <= decibels.min() < -5 and 11 < decibels.max() <= 12 and decibels.mean() == pytest.approx(3, abs=0.6)
    louder = change(wave, draws(7))
    np.testing.assert_allclose(louder / wave, louder[0] / wave[0], rtol=1e-5)
    assert louder.dtype == np.float32


@pytest.mark.parametrize("snr", [0.0, 10.0, 20.0])
def test_noise_is_mixed_at_the_drawn_ratio(snr):
    wave = (0.1 * draws().standard_normal(16000)).astype(np.float32)
    change = noise.build({"folder": None, "snr": [snr, snr], "probability": 1.0}, HERE)
    added = change(wave, draws(1)) - wave
    assert 10 * np.log10(np.mean(wave**2) / np.mean(added**2)) == pytest.approx(snr, abs=0.05)


def test_noise_comes_with_its_probability_from_its_folder(tmp_path):
    hum = np.sin(2 * np.pi * 100 * np.arange(4000) / 8000).astype(np.float32)
    (tmp_path / "below").mkdir()
    soundfile.write(tmp_path / "below" / "hum.wav", hum, 8000)
    context = Context(16000, 1, tmp_path)
    change = noise.build({"folder": ".", "snr": [0, 0], "probability": 0.25}, context)
    wave, generator = np.full(32000, 0.1, np.float32), draws()
    added = [change(wave, generator) for _ in range(400)]
    assert 0.15 < np.mean([a is not wave for a in added]) < 0.35
    heard = next(a for a in added if a is not wave) - wave  # longer than the recording, which goes round
    assert np.abs(np.fft.rfft(heard)).argmax() * 16000 / len(heard) == pytest.approx(100, abs=1)


def test_pink_noise_falls_by_three_decibels_an_octave():
    spectra = {True: [], False: []}
    generator = draws()
    for _ in range(60):
        power = np.abs(np.fft.rfft(noise.coloured(4096, generator))) ** 2
        ratio = power[64:128].mean() / power[512:1024].mean()
        spectra[ratio > 3].append(ratio)
    assert np.mean(spectra[True]) == pytest.approx(8, rel=0.2) and np.mean(spectra[False]) == pytest.approx(1, rel=0.2)


def test_what_cannot_be_done_is_said(tmp_path):
    with pytest.raises(ConsommeError, match="no recording there"):
        noise.build({"folder": "none", "snr": [5, 20], "probability": 1.0}, Context(16000, 1, tmp_path))
    with pytest.raises(ConsommeError, match="lower ratio first"):
        noise.build({"folder": None, "snr": [20, 5], "probability": 1.0}, HERE)
    with pytest.raises(ConsommeError, match="factors between"):
        speed.build([0.0], HERE)
    with pytest.raises(ConsommeError, match="share of the frames"):
        spec_augment.build({**MASKS, "time_width": 30}, HERE)
