"""Where long recordings are cut."""

import itertools

import numpy as np
import pytest

from consomme.transcribe.pauses import pieces

RATE = 8000


def speech(seconds, loud=0.3, seed=0):
    return loud * np.random.default_rng(seed).standard_normal(int(seconds * RATE)).astype(np.float32)


def quiet(seconds, loud=0.0005):
    return speech(seconds, loud, seed=9)


def test_what_is_short_enough_stays_whole():
    wave = np.concatenate([quiet(3), speech(1)])
    assert pieces(wave, RATE, 5) == [(0, len(wave))]


def test_long_silence_is_left_out_and_short_pauses_stay():
    wave = np.concatenate([quiet(4), speech(2), quiet(0.3), speech(2), quiet(5), speech(3), quiet(2)])
    (a, b), (c, d) = ((x / RATE, y / RATE) for x, y in pieces(wave, RATE, 10))
    assert (a, b) == pytest.approx((3.8, 8.5), abs=0.05)  # 0.2 s beside the speech
    assert (c, d) == pytest.approx((13.1, 16.5), abs=0.05)


def test_neighbours_share_a_piece_while_it_is_short_enough():
    wave = np.concatenate([speech(2, seed=i) if i % 2 == 0 else quiet(1.5) for i in range(9)])
    found = pieces(wave, RATE, 6.5)
    assert [round((b - a) / RATE) for a, b in found] == [6, 6, 2]
    assert all(b - a <= 6.5 * RATE for a, b in found)
    assert all(b <= c for (_, b), (c, _) in itertools.pairwise(found))


def test_speech_without_a_pause_is_cut_where_it_is_quietest():
    wave = np.concatenate([speech(7), speech(0.1, loud=0.02), speech(8, seed=1)])
    found = pieces(wave, RATE, 10)
    assert found[0][1] / RATE == pytest.approx(7.05, abs=0.06) and found[0][1] == found[1][0]
    assert found[0][0] == 0 and found[-1][1] == len(wave)  # nothing is lost


@pytest.mark.parametrize("wave", [np.zeros(20 * RATE, np.float32), quiet(20, 0.0001)])
def test_without_speech_there_is_no_piece(wave):
    assert pieces(wave, RATE, 5) == []


def test_steady_noise_is_kept():
    wave = speech(20, 0.1)
    found = pieces(wave, RATE, 6)
    assert found[0][0] == 0 and found[-1][1] == len(wave) and all(b - a <= 6 * RATE for a, b in found)


def test_pieces_never_overlap_and_never_exceed_the_most():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        parts = [
            speech(rng.uniform(0.05, 8), rng.uniform(0.02, 0.5), seed + i)
            if rng.random() < 0.6
            else quiet(rng.uniform(0.05, 3))
            for i in range(12)
        ]
        wave = np.concatenate(parts)
        found = pieces(wave, RATE, 5)
        assert all(0 <= a < b <= len(wave) and b - a <= 5.02 * RATE for a, b in found)
        assert all(b <= c for (_, b), (c, _) in itertools.pairwise(found))
