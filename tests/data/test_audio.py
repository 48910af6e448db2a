"""Audio files that are not what they say: cut short, scaled otherwise, silent once they are stored."""

import numpy as np
import pytest
import soundfile

from consomme.data import audio

RATE = 16000


def voice(seconds=3.0, peak=0.5):
    """Noise whose loudness changes: every encoder has something to say in each frame."""
    t = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(1).normal(0, 0.3, len(t)) * (0.4 + 0.4 * np.sin(7 * t))
    return (noise / np.abs(noise).max() * peak).astype(np.float32)


@pytest.fixture
def encoded(tmp_path):
    """The bytes of a file that soundfile writes."""

    def write(suffix, samples, **options):
        path = tmp_path / f"made{suffix}"
        soundfile.write(path, samples, RATE, **options)
        return path.read_bytes()

    return write


def refused(source, max_seconds=30.0):
    with pytest.raises(audio.BadAudio) as caught:
        audio.decode(source, max_seconds)
    return caught.value.reason, caught.value.detail


# -- cut short -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_file", [True, False])
@pytest.mark.parametrize(
    ("suffix", "options", "said"),
    [
        (".wav", {}, "1.50 of 3.00 s are there"),
        (".wav", {"subtype": "PCM_24"}, "1.50 of 3.00 s are there"),
        (".aiff", {}, "1.50 of 3.00 s are there"),
        (".au", {}, "1.50 of 3.00 s are there"),
        (".flac", {}, "only its first 1."),
        (".mp3", {}, "of 3.00 s are there"),
        (".ogg", {}, "its last page lacks"),
        (".ogg", {"subtype": "OPUS"}, "its last page lacks"),
    ],
)
def test_half_a_file_is_truncated_and_told_how_much_is_there(suffix, options, said, as_file, encoded, tmp_path):
    whole = encoded(suffix, voice(), **options)
    for data in (whole, whole[: len(whole) // 2]):
        source = data
        if as_file:
            source = tmp_path / f"clip{suffix}"
            source.write_bytes(data)
        if data is whole:
            assert len(audio.decode(source, 30.0)[0]) == 3 * RATE
        else:
            reason, detail = refused(source)
            assert reason == "truncated" and said in detail


def test_an_mp3_that_lacks_one_frame_is_whole_and_one_that_lacks_five_is_not(encoded):
    whole = encoded(".mp3", voice(), bitrate_mode="CONSTANT")
    frame = round(len(whole) / (3 * RATE / 576))
    assert len(audio.decode(whole[:-frame])[0]) >= 3 * RATE - 2 * 576
    assert refused(whole[: -6 * frame])[0] == "truncated"


def test_who_writes_to_a_pipe_promises_nothing(encoded):
    """Sizes of as many bytes as fit, as sox, ffmpeg and espeak write them where they can't go back."""
    whole = encoded(".wav", voice())
    for size in (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000):
        data = whole[:40] + size.to_bytes(4, "little") + whole[44:]
        assert len(audio.decode(data)[0]) == 3 * RATE
    # a flac file's count of samples, 36 bits of its header, may be left at 0
    flac = bytearray(encoded(".flac", voice()))
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    reason, detail = refused(bytes(flac))
    assert reason == "unreadable" and "how long it is" in detail


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_an_mp3_without_a_header_of_its_length_is_read_to_its_end(channels, rate, tmp_path):
    """Its loudness and so its bit rate vary, and the first frame, from which the length is guessed, is large."""
    t = np.arange(2 * rate) / rate
    loud = np.random.default_rng(1).normal(0, 0.3, (len(t), channels)) * (0.02 + 0.6 * np.sin(2 * t) ** 8)[:, None]
    path = tmp_path / "made.mp3"
    soundfile.write(path, loud, rate, bitrate_mode="VARIABLE")
    whole = path.read_bytes()
    wanted, _ = audio.decode(whole)
    bare = whole[whole.index(whole[:2], 4) :]  # from its second frame on
    assert b"Xing" not in bare
    for tag in (b"", b"ID3\x04\0\0\0\0\x01\x02" + bytes(130)):
        path.write_bytes(tag + bare)
        with soundfile.SoundFile(path) as stream:
            assert stream.frames < 0.97 * len(wanted)  # else this shows nothing
        heard, _ = audio.decode(path)
        # encoder and decoder are late by some samples, and fill the last frame, which the header would have told
        assert 0 < len(heard) - len(wanted) < 2 * 1152
        assert np.abs(heard[576 : 576 + len(wanted)] - wanted)[:-1152].max() < 1e-5
        # a segment that the guess would have put behind the end
        part, _ = audio.decode(path, 1.0, 1.9, 2.0)
        assert len(part) == round(0.1 * rate)
        assert np.abs(part - heard[round(1.9 * rate) : round(2.0 * rate)])[1152:].max(initial=0) < 1e-3


def test_bytes_behind_the_end_are_none_of_the_audio(encoded):
    tag = b"TAG" + bytes(125)
    for suffix in (".wav", ".mp3", ".ogg"):
        assert len(audio.decode(encoded(suffix, voice()) + tag)[0]) == 3 * RATE


# -- scaled otherwise ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_whole_numbers_in_floats_are_16_bit_samples(subtype, encoded):
    samples = np.random.default_rng(0).integers(-32768, 32768, 4000).astype(np.int16)
    floats, _ = audio.decode(encoded(".wav", samples.astype(np.float64), subtype=subtype))
    plain, _ = audio.decode(encoded(".wav", samples))
    assert np.array_equal(floats, plain)


@pytest.mark.parametrize("peak", [1.5, 10, 20000.5, 2.0**31])
def test_floats_of_another_scale_are_refused_not_clipped(peak, encoded):
    reason, detail = refused(encoded(".wav", voice(peak=peak), subtype="FLOAT"))
    assert reason == "beyond full scale" and f"up to {peak:.6g}" in detail


def test_a_few_samples_beyond_full_scale_are_clipped(encoded):
    samples = voice()
    samples[[5, 17]] = 1.2, -1.3
    heard, _ = audio.decode(encoded(".wav", samples, subtype="FLOAT"))
    stored = audio.to_int16(heard)
    assert (stored[5], stored[17]) == (32767, -32768)
    assert np.array_equal(np.delete(stored, [5, 17]), audio.to_int16(np.delete(samples, [5, 17])))


def test_what_an_mp3_decoder_overshoots_is_no_fault(encoded):
    square = np.sign(np.sin(np.arange(RATE) * 0.05)).astype(np.float32)
    heard, _ = audio.decode(encoded(".mp3", square))
    assert (np.abs(heard) > 1).mean() > 0.01  # else this shows nothing


# -- silent once stored --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flip", [1.0, 1 + 1e-5])
def test_channels_that_cancel_each_other_are_silence(flip, encoded):
    left = voice(peak=0.3)
    reason, detail = refused(encoded(".wav", np.stack([left, -flip * left], 1), subtype="FLOAT"))
    assert (reason, detail) == ("empty", "its channels cancel each other out")


def test_too_quiet_for_16_bits_is_silence(encoded):
    assert refused(encoded(".wav", voice(peak=1e-5), subtype="FLOAT")) == ("empty", "nothing but digital silence")
    assert len(audio.decode(encoded(".wav", voice(peak=1e-4), subtype="FLOAT"))[0]) == 3 * RATE


def test_what_the_rate_cannot_hold_is_silence(wav, prepare, reasons, tmp_path):
    """A tone of 20 kHz, at 8 kHz."""
    tone = 0.5 * np.sin(2 * np.pi * 20000 * np.arange(48000) / 48000) * np.hanning(48000)
    wav("clips/good_a_1.wav")
    soundfile.write(tmp_path / "clips/high_a_0.wav", tone, 48000, subtype="FLOAT")
    pattern = {"source": "folder", "path": "clips", "pattern": "{text}_{speaker}_{index}.wav"}
    assert prepare(pattern | {"max_skipped": 1}).ids == ["good_a_1"]
    assert reasons() == {"high_a_0": "empty"}
    assert "at 8000 Hz in 16 bits" in (tmp_path / "prepared/corpus/skipped.tsv").read_text()
