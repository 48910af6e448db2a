"""A batch in microbatches of rows of like lengths, so that a batch of rows drawn at random costs little padding.

Gradients of the microbatches add up to the batch's. Batches that each hold rows of one length learn much less from a row, above
all small ones: what differs by length pulls every step another way (Morishita et al. 2017, arXiv 1706.05765)."""

from __future__ import annotations

import numpy as np

# what another pass through the model costs, in rows of the batch's mean length: on a processor little but the reading of
# the weights; a GPU that waits to be told what to do would have done many rows meanwhile
PASS = {"cpu": 3.0, "cuda": 64.0}


def microbatches(sizes: np.ndarray, per_pass: float, room: float | None = None) -> list[np.ndarray]:
    """The rows of each microbatch, longest first: the cut of least cost, of the rows in order of length.

    A microbatch costs its rows times the longest on each side, and a pass. sizes: [rows, sides] lengths, of whatever unit;
    per_pass: rows of mean length; room: padded length of the longer side that a microbatch of several rows may have."""
    order = np.argsort(-sizes.max(1), kind="stable")
    sorted_, rows = sizes[order].astype(float), len(sizes)
    extra = per_pass * sizes.sum() / rows
    best, start = np.full(rows + 1, np.inf), np.zeros(rows + 1, dtype=int)  # of the first n rows: cost, last cut
    best[0] = 0.0
    for first in range(rows):
        count = np.arange(1, rows - first + 1)
        longest = np.maximum.accumulate(sorted_[first:])
        cost = best[first] + count * longest.sum(1) + extra
        if room is not None:
            cost[(count > 1) & (count * longest.max(1) > room)] = np.inf
        better = cost < best[first + 1 :]
        best[first + 1 :][better], start[first + 1 :][better] = cost[better], first
    found, end = [], rows
    while end:
        found.append(order[start[end] : end])
        end = start[end]
    return found[::-1]
