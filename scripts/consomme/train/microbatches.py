"""A batch in microbatches of rows of like lengths, so that a batch of rows drawn at random costs little padding.

The gradients of the microbatches add up to the batch's. Whole batches of one length would save padding too, but a model
learns much less from them, above all from small ones (Morishita et al. 2017, arXiv 1706.05765)."""

from __future__ import annotations

import numpy as np

# cost of one more forward pass, in rows of the batch's mean length. On a processor it is the time to read the
# weights; on a GPU the time to launch the kernels, in which it could process many rows
PASS = {"cpu": 3.0, "cuda": 64.0}


def microbatches(sizes: np.ndarray, per_pass: float, room: float | None = None) -> list[np.ndarray]:
    """The rows of each microbatch, longest first: the cheapest cut of the rows sorted by length.

    The cost of a microbatch is its number of rows times the longest length, summed over the sides, plus one pass. sizes:
    lengths in any unit [rows, sides]; per_pass: cost of a pass, in rows of mean length; room: largest padded length of
    the longer side, for a microbatch of more than one row."""
    order = np.argsort(-sizes.max(1), kind="stable")
    sorted_, rows = sizes[order].astype(float), len(sizes)
    extra = per_pass * sizes.sum() / rows
    # for the first n rows: cost, start of the last microbatch
    best, start = np.full(rows + 1, np.inf), np.zeros(rows + 1, dtype=int)
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
