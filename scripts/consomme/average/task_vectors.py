"""Sums of task vectors (differences of tuned models from their base), made sparse before they are added."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from consomme.common.errors import ConsommeError
from consomme.weights.mean import PIECE, Combination, Mixture, Spans
from consomme.weights.tensors import Weights

Thinner = Callable[[np.ndarray], np.ndarray]  # task vectors, float64 [models, elements] -> the same, made sparse
Thinning = Callable[[Mixture, str], Thinner]  # (models, tensor) -> Thinner, called on the tensor's pieces in order


class TaskVectors(Combination):
    """base + scale · merged(thinned task vectors). The base is the first model; `weights` has one for each of the others.

    Without `elect` the task vectors are added with their weights (Ilharco et al. 2022, arXiv 2212.04089). With it, each
    element is the weighted mean of the task vectors that have the sign of their weighted sum there (TIES, Yadav et al.
    2023, arXiv 2306.01708)."""

    def __init__(
        self, models: Sequence[Weights], weights: Sequence[float], scale: float, thinning: Thinning, elect: bool
    ) -> None:
        super().__init__(models)
        self.divisor = 1.0
        self.weights, self.scale, self.thinning, self.elect = np.asarray(weights, float), scale, thinning, elect
        if len(weights) != len(models) - 1:
            raise ConsommeError(f"{len(weights)} weights for {len(models) - 1} models")

    def combine(self, tensor: str, spans: Spans) -> Iterator[np.ndarray]:
        thin = self.thinning(self, self.copies.get(tensor, tensor))  # tied weights stay tied
        for begin, end in spans:
            base, *tuned = self.exact(tensor, begin, end)
            yield base + self.scale * self._merged(thin(np.stack(tuned) - base))

    def _merged(self, vectors: np.ndarray) -> np.ndarray:
        weighted = vectors * self.weights[:, None]
        total = weighted.sum(axis=0)
        if not self.elect:
            return total
        agree = (np.sign(weighted) == np.sign(total)) & (weighted != 0)
        among = (agree * self.weights[:, None]).sum(axis=0)
        return np.divide((weighted * agree).sum(axis=0), among, out=np.zeros_like(total), where=among != 0)


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


def dropped(density: float, seed: int) -> Thinning:
    """Keep each element with probability `density` and divide it by that (DARE, Yu et al. 2023, arXiv 2311.03099).

    The kept elements depend on the seed, the tensor's name and the model's position alone."""

    def thinning(mixture: Mixture, tensor: str) -> Thinner:
        def generator(place: int) -> np.random.Generator:
            key = hashlib.sha256(f"{seed}/{place}/{tensor}".encode()).digest()
            return np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))

        generators = [generator(place) for place in range(len(mixture.models) - 1)]

        def thin(vectors: np.ndarray) -> np.ndarray:
            stays = np.stack([g.random(vectors.shape[1]) < density for g in generators])
            return np.where(stays, vectors / density, 0.0)

        return thin

    return thinning


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
        for begin in range(0, elements, PIECE):
            base, *tuned = mixture.exact(tensor, begin, min(begin + PIECE, elements))
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
