"""The sound of recordings, known again after they were resampled, trimmed, padded, made louder or coded: by landmarks.

A landmark is a peak of a recording's loudness: its time, and 32 bits that say between which neighbouring bands the energy rises
or falls around it (Haitsma and Kalker 2002, "A highly robust audio fingerprinting system"; landmarks in place of all frames
as Wang 2003, "An industrial-strength audio search algorithm"). Two recordings are one sound where several landmarks agree, but
for a bit each, at the same distances."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from consomme.common.digest import digest
from consomme.common.files import whole_file

if TYPE_CHECKING:
    from consomme.data.prepared import Corpus, Rows

VERSION = 1
RATE = 4000  # Hz: what a telephone lets through is enough, and codecs keep it
STEP = 4  # samples of RATE: loudness is looked at each ms
SMOOTH = 40  # ms over which power is averaged, twice
QUIET = 1e-4  # of the greatest loudness, below which a peak is none: codecs fill pauses alike
WINDOW = 512  # samples of RATE, of a spectrum
AROUND = np.arange(-2, 3) * 384  # samples of RATE from a peak: the middles of five spectra
BANDS = np.round(np.geomspace(300, 1950, 10) * WINDOW / RATE).astype(int)  # the edges of nine, in bins
HANN = np.hanning(WINDOW).astype(np.float32)
BIT = (1 << np.arange(32, dtype=np.uint64)).astype(np.uint32)
AGREE, SHARE = 4, 0.15  # landmarks that two recordings have in common at least; of those of the one that has fewer
APART = 16  # ms that their distances may differ
COMMON = 64  # landmarks of a set that have the same bits, above which they tell nothing
CHUNK = 1 << 18  # landmarks that are looked up at once
MARK = np.dtype([("row", "<i4"), ("time", "<i4"), ("bits", "<u4")])


def landmarks(samples: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """The times, ms, and the bits of the landmarks of a waveform, int16 [samples] at `rate` Hz; none where it is too short."""
    few = max(1, round(rate / RATE))
    low = samples[: len(samples) // few * few].reshape(-1, few).mean(axis=1, dtype=np.float32)
    if len(low) < WINDOW:
        return np.zeros(0, np.int32), np.zeros(0, np.uint32)
    low -= low.mean()
    power = low * low
    loud = _smooth(_smooth(power[: len(low) // STEP * STEP].reshape(-1, STEP).mean(axis=1)))
    peaks = 1 + np.flatnonzero((loud[1:-1] > loud[:-2]) & (loud[1:-1] >= loud[2:]))
    peaks = peaks[loud[peaks] > QUIET * loud.max()] * STEP
    margin = WINDOW // 2 - AROUND[0]
    spans = np.lib.stride_tricks.sliding_window_view(np.pad(low, margin), WINDOW)
    spectra = np.fft.rfft(spans[peaks[:, None] + AROUND + (margin - WINDOW // 2)] * HANN)
    energy = np.log(np.add.reduceat(spectra.real**2 + spectra.imag**2, BANDS, axis=2)[:, :, :-1] + 1)
    rising = np.diff(np.diff(energy, axis=2), axis=1) > 0
    bits = np.packbits(rising.reshape(len(peaks), 32), axis=1).view("<u4")[:, 0]
    return (peaks * (few * 1000 / rate)).astype(np.int32), bits.astype(np.uint32)


def _smooth(values: np.ndarray) -> np.ndarray:
    """The mean over `SMOOTH` values around each."""
    total = np.cumsum(np.pad(values, (SMOOTH // 2 + 1, SMOOTH - SMOOTH // 2 - 1)), dtype=np.float64)
    return (total[SMOOTH:] - total[:-SMOOTH]) / SMOOTH


def of_corpus(corpus: Corpus, cache: Path) -> np.ndarray:
    """The landmarks of all rows of a prepared corpus, `MARK` [landmarks], row after row, memory-mapped. Kept in `cache`/sounds by
    the corpus's content."""
    whole = corpus.audio or corpus
    path = cache / "sounds" / f"{digest([whole.about['fingerprint'], VERSION], 24)}.npy"
    if not path.exists():
        rate = int(whole.about["sampling_rate"])
        found = [np.zeros(0, MARK)]
        for row in range(whole.table.num_rows):
            times, bits = landmarks(whole.samples(row), rate)
            marks: np.ndarray = np.zeros(len(times), MARK)
            marks["row"], marks["time"], marks["bits"] = row, times, bits
            found.append(marks)
        with whole_file(path, "wb") as stream:
            np.save(stream, np.concatenate(found), allow_pickle=False)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def of_rows(rows: Rows, cache: Path) -> Iterator[np.ndarray]:
    """The landmarks of some rows, numbered as there, in pieces of whole rows."""
    for corpus, places, numbers in rows.parts():
        numbers = corpus.numbers[numbers] if corpus.audio is not None and corpus.numbers is not None else numbers
        marks = of_corpus(corpus, cache)
        order = np.argsort(numbers, kind="stable")
        numbers, places = numbers[order], places[order]
        at = np.searchsorted(marks["row"], [numbers, numbers + 1])
        start = 0
        while start < len(numbers):
            # as many rows as fit, one at least
            end = max(start + 1, int(np.searchsorted(np.cumsum(at[1][start:] - at[0][start:]), CHUNK)) + start)
            taken = [marks[a:b] for a, b in zip(*at[:, start:end], strict=True)]
            piece = np.concatenate(taken)
            piece["row"] = np.repeat(places[start:end], [len(one) for one in taken])
            yield piece
            start = end


def heard(train: Rows, test: Rows, cache: Path) -> list[bool]:
    """Which rows of `test` are one sound with a row of `train`."""
    known = np.concatenate([np.zeros(0, MARK), *of_rows(test, cache)])
    # all bits that differ from those of a landmark in one at most
    keys = (known["bits"][:, None] ^ np.concatenate([[0], BIT]).astype(np.uint32)).ravel()
    order = np.argsort(keys, kind="stable")
    keys, owner = keys[order], order // (len(BIT) + 1)
    found, many = np.zeros(len(test), bool), np.bincount(known["row"], minlength=len(test))
    for marks in of_rows(train, cache):
        first, last = np.searchsorted(keys, marks["bits"], "left"), np.searchsorted(keys, marks["bits"], "right")
        count = np.where(last - first > COMMON, 0, last - first)
        theirs = np.repeat(np.arange(len(marks)), count)
        ours = owner[np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())]
        fewer = np.minimum(np.bincount(marks["row"])[marks["row"][theirs]], many[known["row"][ours]])
        found[_agreeing(marks[theirs], known[ours], fewer)] = True
    return found.tolist()


def _agreeing(theirs: np.ndarray, ours: np.ndarray, fewer: np.ndarray) -> np.ndarray:
    """The rows of `ours` of which enough landmarks lie at the same distances as those of one row of `theirs`. fewer: how many
    landmarks the one of both rows has that has fewer."""
    apart = theirs["time"].astype(np.int64) - ours["time"]
    order = np.lexsort([apart, theirs["row"], ours["row"]])
    pairs, apart = np.stack([theirs["row"], ours["row"]])[:, order], apart[order]
    last = np.arange(len(order)) + np.maximum(AGREE, np.ceil(SHARE * fewer[order]).astype(np.int64)) - 1
    first = np.flatnonzero(last < len(order))
    last = last[first]
    together = (pairs[:, first] == pairs[:, last]).all(axis=0) & (apart[last] - apart[first] <= APART)
    return np.unique(pairs[1, first[together]])
