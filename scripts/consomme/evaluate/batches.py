"""Rows of a set in batches whose rows don't change each other's output."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np

from consomme.evaluate.inputs import Inputs

Alike = Callable[[float, Any], float | None]  # of `Window.alike`


def batches(
    inputs: Inputs, alike: Alike, size: int, without: Collection[int], *shared: Sequence[Any]
) -> Iterator[list[int]]:
    """All rows but those `without`, in batches of at most `size`, longest first: batches have little padding, and memory
    peaks at the start. If padding changes the output, all rows of a batch have the same length; with short windows, the same
    window; rows of audio that is longer than the window are by themselves. shared: for each row something, such as its
    languages, that all rows of a batch have in common."""
    lengths = np.asarray(inputs.rows.lengths, dtype=np.float64)
    keys = list(zip(*shared, strict=True)) if shared else [()] * len(lengths)
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    order = np.lexsort([-lengths, [numbers[key] for key in keys]]).tolist()

    def kind(i: int) -> tuple[Any, ...]:
        return keys[i], inputs.long[i], None if inputs.long[i] else alike(lengths[i], inputs.features[i])

    for _, group in itertools.groupby((i for i in order if i not in without), key=kind):
        rows = list(group)
        for start in range(0, len(rows), size):
            yield rows[start : start + size]
