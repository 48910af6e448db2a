"""Long recordings in pieces, cut at pauses; long silence is left out."""

from __future__ import annotations

import numpy as np

FRAME = 0.02  # seconds
BESIDE = 0.2  # seconds around speech that stay with it
PAUSE = 0.5  # seconds of quiet that part two stretches of speech
SILENT = 1e-3  # of full scale, -60 dB: below it nothing is speech
SPREAD = 6.0  # dB between the quiet and the loud frames below which quiet can't be told from speech


def pieces(wave: np.ndarray, rate: int, most: float) -> list[tuple[int, int]]:
    """The first sample and the one after the last of each piece of a waveform, at most `most` seconds. One that is no longer
    is left whole. Pieces hold stretches of speech with the short pauses between them. Speech without a pause is cut where it
    is quietest in the later half of a piece. Empty if there is no speech at all."""
    if len(wave) <= most * rate:
        return [(0, len(wave))]
    size = int(FRAME * rate)
    count = len(wave) // size
    frames = wave[: count * size].reshape(count, size)
    power = np.sqrt((frames.astype(np.float64) ** 2).mean(1))
    found: list[tuple[int, int]] = []
    limit = int(most / FRAME)
    for begin, end in _stretches(_loud(power)):
        if found and end - found[-1][0] <= limit:
            found[-1] = (found[-1][0], end)
            continue
        while end - begin > limit:
            cut = begin + limit // 2 + int(power[begin + limit // 2 : begin + limit].argmin())
            found.append((begin, cut))
            begin = cut
        found.append((begin, end))
    return [(begin * size, len(wave) if end == count else end * size) for begin, end in found]


def _loud(power: np.ndarray) -> np.ndarray:
    """Which frames may be speech: those above a level between the quiet and the loud ones."""
    level = 20 * np.log10(np.maximum(power, 1e-9))
    quiet, loud = np.percentile(level, [10, 95])
    if loud - quiet < SPREAD:
        return power > SILENT
    return (level > quiet + (loud - quiet) / 4) & (power > SILENT)


def _stretches(loud: np.ndarray) -> list[tuple[int, int]]:
    """Stretches of frames, first and one after the last, with what is beside them; short pauses stay inside."""
    (edges,) = np.diff(np.concatenate([[0], loud.astype(np.int8), [0]])).nonzero()
    beside, pause, found = int(BESIDE / FRAME), int(PAUSE / FRAME), list[tuple[int, int]]()
    for begin, end in edges.reshape(-1, 2).tolist():
        begin, end = max(begin - beside, 0), min(end + beside, len(loud))
        if found and begin - found[-1][1] < pause:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return found
