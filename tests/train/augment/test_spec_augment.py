"""A time warp and masks, on log-mel frames and on waveforms."""

from pathlib import Path

import numpy as np
import pytest

from consomme.common.errors import ConsommeError
from consomme.train.augment import (
    Context,
    spec_augment,
)

HERE = Context(rate=16000, stride=2, root=Path())
WAVES = Context(rate=16000, waveform=True)
MASKS = {"time_masks": 2, "time_width": 0.2, "frequency_masks": 2, "frequency_width": 4}


def draws(seed=0):
    return np.random.default_rng(seed)


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


@pytest.mark.parametrize(("point", "goal"), [(30.0, 45.0), (30.0, 12.5), (50.0, 50.0)])
def test_a_ramp_warps_as_computed_and_its_ends_stay(point, goal):
    ramp = np.stack([np.arange(100.0), -np.arange(100.0)], axis=1).astype(np.float32)
    found = spec_augment.warped(ramp, point, goal)
    times = np.arange(100)
    left, right = times * point / goal, point + (times - goal) * (99 - point) / (99 - goal)
    np.testing.assert_allclose(found[:, 0], np.where(times <= goal, left, right), atol=1e-4)
    np.testing.assert_allclose(found[:, 1], -found[:, 0], atol=1e-4)
    assert np.array_equal(found[[0, -1]], ramp[[0, -1]]) and found.dtype == np.float32


def test_the_warp_moves_a_frame_by_at_most_its_distance_both_ways():
    settings = {**MASKS, "time_masks": 0, "frequency_masks": 0, "time_warp": 20}
    ramp = np.arange(200.0, dtype=np.float32)[:, None]
    change, generator = spec_augment.build(settings, Context()), draws()
    shifts = np.array(
        [
            np.abs(s).max() * np.sign(s[np.abs(s).argmax()])
            for s in (change(ramp, generator)[:, 0] - ramp[:, 0] for _ in range(500))
        ]
    )
    assert -21 < shifts.min() < -17 and 17 < shifts.max() < 21 and abs(shifts.mean()) < 2
    short = ramp[:41]
    assert np.array_equal(change(short, draws()), short)  # no frame is 20 away from both ends


def test_the_widest_time_mask_is_the_smaller_of_frames_and_share():
    def widest(frames, **given):
        drawn = [spec_augment.stretches(frames, frames, generator, time_masks=1, **given)[0] for _ in range(2000)]
        return max(s.stop - s.start for s in drawn)

    generator = draws()
    assert 95 <= widest(1000, time_width=1.0, time_frames=100) < 100
    assert 38 <= widest(200, time_width=0.2, time_frames=100) < 40


def test_adaptive_masks_grow_with_the_utterance_up_to_their_limit():
    def number(frames):
        return len(
            spec_augment.stretches(frames, frames, draws(), time_masks=20, time_width=0.04, time_masks_per_frame=0.04)
        )

    assert [number(n) for n in (20, 100, 399, 10000)] == [0, 4, 15, 20]


def test_waveforms_get_time_masks_as_long_as_frames_would():
    wave = draws().normal(1, 1, 32000).astype(np.float32)
    before = wave.copy()
    settings = {"time_masks": 1, "time_width": 1.0, "time_frames": 50, "frequency_width": 15}
    change, generator = spec_augment.build(settings, WAVES), draws()
    lengths = []
    for _ in range(300):
        masked = change(wave, generator)
        assert masked.shape == wave.shape and np.allclose(masked[masked != wave], wave.mean())
        lengths.append((masked != wave).sum())
    assert np.array_equal(wave, before)
    assert 7800 < max(lengths) <= 8000  # 50 frames of 10 ms at 16 kHz
    for more in ({"frequency_masks": 1}, {"time_warp": 5}):
        with pytest.raises(ConsommeError, match=r"reads waveforms.*allowed: time_masks"):
            spec_augment.build({**settings, **more}, WAVES)
    spec_augment.build({**settings, "frequency_masks": 0, "time_warp": 0}, WAVES)
