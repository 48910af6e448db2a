"""Speed, pitch, loudness, noise and rooms."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from consomme.train.augment import (
    Context,
    folders,
    gain,
    noise,
    pitch,
    reverb,
    speed,
)

HERE = Context(rate=16000, stride=2, root=Path())


def draws(seed=0):
    return np.random.default_rng(seed)


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


@pytest.mark.parametrize("factor", [0.8, 1.25, 2.0])
def test_the_vocoder_is_that_of_torchaudio(factor):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchaudio.functional")
    wave, window = torch.from_numpy(draws().standard_normal(16000)), torch.hann_window(512, dtype=torch.float64)
    spectrum = torch.stft(wave, 512, 128, window=window, return_complex=True)
    advance = torch.linspace(0, torch.pi * 128, 257, dtype=torch.float64)[:, None]
    theirs, ours = functional.phase_vocoder(spectrum, 1 / factor, advance).T, pitch.slower(spectrum.T, factor)
    whole = int((len(spectrum.T) - 1) * factor)  # what follows lies after the last frame
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(ours[:whole], theirs[:whole], atol=1e-8)
    np.testing.assert_allclose(pitch.overlapped(spectrum.T, window), wave, atol=1e-12)


def test_every_semitone_is_met_within_four_hundredths():
    for steps in range(-12, 13):
        assert 12 * np.log2(float(pitch.ratio(steps))) == pytest.approx(steps, abs=0.04)


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


def test_a_recorded_room_keeps_time_length_and_power(tmp_path):
    response = np.zeros(800, np.float32)
    response[[100, 180, 420]] = 0.02, 0.8, 0.4  # something early, the direct sound, an echo 240 samples after it
    soundfile.write(tmp_path / "room.wav", response, 16000, subtype="FLOAT")
    change = reverb.build({"folder": ".", "rt60": [0.1, 0.6], "probability": 1.0}, Context(16000, 1, tmp_path))
    clicks = np.zeros(16000, np.float32)
    clicks[[1000, 15990]] = 0.5
    heard = change(clicks, draws())
    assert heard.shape == clicks.shape and heard.dtype == np.float32
    assert np.abs(heard).argsort()[-2:].tolist() in ([1000, 15990], [15990, 1000])
    assert heard[1240] / heard[1000] == pytest.approx(0.5, abs=1e-4)
    assert heard[920] / heard[1000] == pytest.approx(0.025, abs=1e-4)
    assert np.mean(heard**2) == pytest.approx(np.mean(clicks**2), rel=1e-4)


def test_convolution_is_that_of_numpy():
    wave, response = draws().standard_normal(5000).astype(np.float32), draws(1).standard_normal(700).astype(np.float32)
    start = int(np.abs(response).argmax())
    expected = np.convolve(wave, response)[start : start + len(wave)]
    expected *= np.sqrt(np.mean(wave**2) / np.mean(expected**2))
    np.testing.assert_allclose(reverb.within(wave, response), expected, atol=1e-4)


def test_a_room_made_on_the_spot_falls_by_sixty_decibels_in_its_time():
    response = reverb.room(0.4, 6.0, 16000, draws())
    tail = response[1:]
    assert np.abs(response).argmax() == 0 and 10 * np.log10(1 / np.sum(tail**2)) == pytest.approx(6, abs=1e-6)
    first, last = tail[400:1200], tail[4400:5200]  # 0.25 s apart
    assert 10 * np.log10(np.sum(first**2) / np.sum(last**2)) == pytest.approx(60 * 0.25 / 0.4, abs=1.5)


def test_rooms_come_with_their_probability():
    change = reverb.build({"folder": None, "rt60": [0.1, 0.2], "probability": 0.3}, HERE)
    wave, generator = draws().standard_normal(4000).astype(np.float32), draws()
    assert 0.2 < np.mean([change(wave, generator) is not wave for _ in range(300)]) < 0.4
    silence = np.zeros(4000, np.float32)
    assert not any(np.any(change(silence, generator)) for _ in range(20))


def test_folders_of_augmentations_are_found_with_what_lies_below(tmp_path):
    for name in ("b/hum.wav", "a.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, np.ones(10), 8000)
    settings = {"noise": {"folder": ".", "snr": [0, 5]}, "reverb": {"folder": "b"}, "gain": [0, 1], "speed": None}
    assert folders(settings, tmp_path) == {
        "noise": [tmp_path / "a.wav", tmp_path / "b/hum.wav"],
        "reverb": [tmp_path / "b/hum.wav"],
    }


def test_pink_noise_falls_by_three_decibels_an_octave():
    spectra = {True: [], False: []}
    generator = draws()
    for _ in range(60):
        power = np.abs(np.fft.rfft(noise.coloured(4096, generator))) ** 2
        ratio = power[64:128].mean() / power[512:1024].mean()
        spectra[ratio > 3].append(ratio)
    assert np.mean(spectra[True]) == pytest.approx(8, rel=0.2) and np.mean(spectra[False]) == pytest.approx(1, rel=0.2)


# -- text ----------------------------------------------------------------------------------------------------------------
