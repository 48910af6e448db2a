"""Time of the pitch shift against torchaudio's pitch_shift, and of each augmentation against the features computed after
it: python bench/augmentation.py [--rounds 3] [--seconds 8]

One clip of noise at 16 kHz, one thread."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import Row, Run, compared, interleaved, report

RATE, SEMITONES, BAR = 16000, (-4, -3, -2, -1, 1, 2, 3, 4), 1 / 20
WAVEFORM = {
    "speed": [0.9],
    "pitch": [2],
    "gain": [-6, 6],
    "reverb": {"rt60": [0.6, 0.6], "probability": 1.0},
    "noise": {"snr": [5, 5], "probability": 1.0},
}
MASKS = {"time_masks": 2, "time_width": 0.05, "frequency_width": 15, "time_warp": 80}


def once(action: Callable[[], Any]) -> Callable[[], Run]:
    """The action as a contender."""

    def run() -> Run:
        began = time.perf_counter()
        action()
        return Run(time.perf_counter() - began, 0.0, 0.0)

    return run


def measure(rounds: int, seconds: float) -> list[Row]:
    """The rows of the table."""
    import torch
    from torchaudio.functional import pitch_shift
    from transformers import SeamlessM4TFeatureExtractor

    from consomme.families.ctc import _log_mel
    from consomme.train.augment import TABLE, Context, pitch

    torch.set_num_threads(1)
    wave = (0.1 * np.random.default_rng(0).standard_normal(int(seconds * RATE))).astype(np.float32)
    rows = []
    for steps in SEMITONES:
        found = interleaved(
            {
                "ours": once(lambda steps=steps: pitch.shift(wave, steps, 512)),
                "peer": once(lambda steps=steps: pitch_shift(torch.from_numpy(wave), RATE, steps, n_fft=512)),
            },
            rounds,
        )
        rows.append(compared(f"pitch by {steps:+d}: against torchaudio", found["ours"], found["peer"], BAR))
    extractor = SeamlessM4TFeatureExtractor(feature_size=80, num_mel_bins=80, stride=2)
    features = once(lambda: _log_mel(extractor, wave))
    frames = np.zeros((int(100 * seconds), 80), np.float32)
    for name, settings in {**WAVEFORM, "spec_augment": MASKS}.items():
        change, generator = TABLE[name].build(settings, Context(rate=RATE)), np.random.default_rng(0)
        what = frames if name == "spec_augment" else wave
        ours = once(lambda change=change, what=what, generator=generator: change(what, generator))
        found = interleaved({"ours": ours, "peer": features}, 5 * rounds)
        rows.append(compared(f"{name}: against the features of ctc", found["ours"], found["peer"], None))
    return rows


def main() -> None:
    """Measure, print the table, write results/bench/augmentation.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of the clip")
    given = parser.parse_args()
    report(measure(given.rounds, given.seconds), Path("results/bench/augmentation.json"))


if __name__ == "__main__":
    main()
