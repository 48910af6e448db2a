"""Task vectors (differences of tuned models from their base) made sparse, before they are added."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator

import numpy as np

from consomme.weights.mean import PIECE, Mixture
from consomme.weights.tensors import spans

Thinner = Callable[[np.ndarray], np.ndarray]  # task vectors, float64 [models, elements] -> the same, made sparse
Thinning = Callable[[Mixture, str], Thinner]  # (models, tensor) -> Thinner, called on the tensor's pieces in order


def whole(mixture: Mixture, tensor: str) -> Thinner:
    """Keep all elements."""
    return lambda vectors: vectors


def trimmed(density: float) -> Thinning:
    """Keep the round(density · elements) elements of largest magnitude of each tensor of each model, with ties."""

    def thinning(mixture: Mixture, tensor: str) -> Thinner:
        elements = mixture.models[0].slots[tensor].elements
        keep = round(density * elements)
        if keep >= elements:
            return lambda vectors: vectors
        limits = _limits(mixture, tensor, keep)[:, None]
        return lambda vectors: np.where(np.abs(vectors) >= limits, vectors, 0.0)

    return thinning


def without_tails(density: float, gamma: float) -> Thinning:
    """Of each tensor of each model, drop the round(gamma · elements) elements of largest magnitude and keep the
    round(density · elements) that come next, with ties at either end (Davari and Belilovsky 2023, arXiv 2312.06795)."""

    def thinning(mixture: Mixture, tensor: str) -> Thinner:
        elements = mixture.models[0].slots[tensor].elements
        above = round(gamma * elements)
        keep = min(round(density * elements), elements - above)
        if keep == 0:
            return np.zeros_like
        least, most = (_limits(mixture, tensor, place)[:, None] for place in (above + keep, above + 1))

        def thin(vectors: np.ndarray) -> np.ndarray:
            sizes = np.abs(vectors)
            return np.where((sizes >= least) & (sizes <= most), vectors, 0.0)

        return thin

    return thinning


def dropped(density: float, seed: int) -> Thinning:
    """Keep each element with probability `density` and divide it by that (DARE, Yu et al. 2023, arXiv 2311.03099).

    The kept elements depend on the seed, the tensor's name and the model's position alone."""

    def thinning(mixture: Mixture, tensor: str) -> Thinner:
        generators = _generators(mixture, tensor, seed)

        def thin(vectors: np.ndarray) -> np.ndarray:
            stays = np.stack([g.random(vectors.shape[1]) < density for g in generators])
            return np.where(stays, vectors / density, 0.0)

        return thin

    return thinning


def dropped_by_rank(density: float, epsilon: float, seed: int) -> Thinning:
    """Keep each element with a probability that falls with its rank r in its row, and divide it by that (MAGPRUNE of
    Deep et al. 2024, arXiv 2406.11617).

    Ranks run from 0, the largest magnitude, to n - 1. The probability of being dropped is p - epsilon/2 + epsilon · r/n
    with p = 1 - density, which must lie in 0..1. A row is what one output is computed from; a tensor of one dimension
    is one row. Called on pieces of whole rows. Randomness is that of `dropped`."""

    def thinning(mixture: Mixture, tensor: str) -> Thinner:
        row = row_length(mixture.models[0].slots[tensor].shape)
        generators = _generators(mixture, tensor, seed)

        def thin(vectors: np.ndarray) -> np.ndarray:
            sizes = np.abs(vectors).reshape(len(vectors), -1, row)
            falling = np.argsort(-sizes, axis=-1, kind="stable")
            chance = np.empty_like(sizes)
            by_rank = density + epsilon / 2 - epsilon * np.arange(row) / row
            np.put_along_axis(chance, falling, np.broadcast_to(by_rank, falling.shape), axis=-1)
            chance = chance.reshape(vectors.shape)
            stays = np.stack([g.random(vectors.shape[1]) for g in generators]) < chance
            return np.divide(vectors, chance, out=np.zeros_like(vectors), where=stays)

        return thin

    return thinning


def row_length(shape: tuple[int, ...]) -> int:
    """The number of elements of a tensor along all dimensions but the first; of a vector, all."""
    return max(1, math.prod(shape[1:] if len(shape) > 1 else shape))


def whole_rows(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """(begin, end) of a tensor's elements, in pieces of whole rows."""
    row = row_length(shape)
    return spans(0, math.prod(shape), max(1, PIECE // row) * row)


def _generators(mixture: Mixture, tensor: str, seed: int) -> list[np.random.Generator]:
    """A generator for each model beside the base."""

    def generator(place: int) -> np.random.Generator:
        key = hashlib.sha256(f"{seed}/{place}/{tensor}".encode()).digest()
        return np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))

    return [generator(place) for place in range(len(mixture.models) - 1)]


def _limits(mixture: Mixture, tensor: str, keep: int) -> np.ndarray:
    """The magnitude of each task vector's `keep`-th largest element, float64 [models] (infinity where keep is 0).

    Found by counting in four passes over the files, without holding the whole tensor: the order of non-negative floats is
    that of their bits, and each pass determines 16 of the 64 bits."""
    count = len(mixture.models) - 1
    if keep == 0:
        return np.full(count, np.inf)
    elements = mixture.models[0].slots[tensor].elements
    found, left = np.zeros(count, np.uint64), np.full(count, keep)
    for shift in (48, 32, 16, 0):
        counts = np.zeros((count, 1 << 16), np.int64)
        for begin, end in spans(0, elements, PIECE):
            base, *tuned = mixture.exact(tensor, begin, end)
            for i, values in enumerate(tuned):
                bits = np.abs(values - base).view(np.uint64) >> np.uint64(shift)
                inside = bits[bits >> np.uint64(16) == found[i]]
                counts[i] += np.bincount((inside & np.uint64(0xFFFF)).astype(np.int64), minlength=1 << 16)
        for i in range(count):
            down = counts[i, ::-1].cumsum()[::-1]  # number in this bin and those above it
            chosen = int(np.flatnonzero(down >= left[i])[-1])
            left[i] -= down[chosen] - counts[i, chosen]
            found[i] = (found[i] << np.uint64(16)) | np.uint64(chosen)
    return found.view(np.float64)
