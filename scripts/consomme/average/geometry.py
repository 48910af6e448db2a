"""Combinations whose coefficients follow from the angles between models, tensor by tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from consomme.weights.mean import PIECE, Mixture, in_order
from consomme.weights.tensors import Weights, spans

PARALLEL = 0.9995  # absolute cosine above which tensors are interpolated linearly
# of the Karcher mean: the most steps, the length of a step that ends it, and the least sine of an angle that is told from a
# right line, both ways
STEPS, CONVERGED, STRAIGHT = 100, 1e-12, 1e-6


class Slerp(Mixture):
    """The point at `alpha` of the great circle from the first of two models to the second (Shoemake 1985).

    The angle is that between the flattened tensors; coefficients sin((1-a)θ)/sin θ and sin(aθ)/sin θ apply to the
    tensors without normalisation, so lengths are interpolated too. Parallel and zero tensors are interpolated linearly."""

    def __init__(self, models: Sequence[Weights], alpha: float) -> None:
        super().__init__(models, [1 - alpha, alpha])

    def of(self, tensor: str) -> Sequence[float]:
        products = gram(self, tensor, from_first=False)
        lengths = math.sqrt(products[0, 0] * products[1, 1])
        cosine = products[0, 1] / lengths if lengths else 1.0
        if abs(cosine) > PARALLEL:
            return self.coefficients
        angle = math.acos(cosine)
        return [math.sin(share * angle) / math.sin(angle) for share in self.coefficients]


class ModelStock(Mixture):
    """Between the base, which is the first model, and the mean of the others (Jang et al. 2024, arXiv 2403.19522).

    Per tensor, with θ the mean angle between two tuned models as seen from the base and k their number, the mean's
    share is t = k cos θ / (1 + (k - 1) cos θ). shares: tensor -> t, filled by `of`."""

    def __init__(self, models: Sequence[Weights]) -> None:
        super().__init__(models)
        self.divisor = 1.0
        self.shares: dict[str, float] = {}

    def of(self, tensor: str) -> Sequence[float]:
        products = gram(self, tensor, from_first=True)
        count = len(products)
        lengths = np.sqrt(np.diag(products))
        pairs = [(i, j) for i in range(count) for j in range(i)]
        cosines = [
            products[i, j] / (lengths[i] * lengths[j]) if lengths[i] and lengths[j] else 1.0 for i, j in pairs
        ]  # a tensor equal to the base's has no direction: it counts as parallel
        cosine = max(0.0, float(np.mean(cosines)))  # a negative mean cosine gives the base
        share = count * cosine / (1 + (count - 1) * cosine)
        self.shares[tensor] = share
        return [1 - share, *([share / count] * count)]


class Karcher(Mixture):
    """The Karcher mean on the sphere (Karcher 1977): the direction with the least squared angles to those of all models, with
    the mean of their lengths.

    Each step goes from the mean so far along the mean of its tangents towards the models. All angles follow from the inner
    products of the models, so a step costs nothing and the result is a linear combination. A tensor of length 0 has no
    direction and counts in the mean length alone."""

    def __init__(self, models: Sequence[Weights]) -> None:
        super().__init__(models)
        self.divisor = 1.0

    def of(self, tensor: str) -> Sequence[float]:
        products = gram(self, tensor, from_first=False)
        lengths = np.sqrt(np.diag(products))
        there = lengths > 0
        if not there.any():
            return [1 / len(lengths)] * len(lengths)
        shares = _direction(products[np.ix_(there, there)] / np.outer(lengths[there], lengths[there]))
        coefficients = np.zeros(len(lengths))
        coefficients[there] = lengths.mean() * shares / lengths[there]
        return coefficients.tolist()


def _direction(cosines: np.ndarray) -> np.ndarray:
    """The coefficients of unit vectors, with these cosines [n, n] between them, whose sum is their Karcher mean. From
    opposite vectors alone, which have no mean, the first is taken."""
    count = len(cosines)

    def length(coefficients: np.ndarray) -> float:
        return math.sqrt(max(0.0, coefficients @ cosines @ coefficients))

    mean = np.full(count, 1 / count)
    mean = mean / length(mean) if length(mean) > CONVERGED else np.eye(count)[0]
    for _ in range(STEPS):
        along = np.clip(cosines @ mean, -1, 1)
        angles = np.arccos(along)
        stretched = np.divide(angles, np.sin(angles), out=np.ones(count), where=np.sin(angles) > STRAIGHT)
        tangent = (stretched - stretched @ along * mean) / count
        step = length(tangent)
        if step < CONVERGED:
            break
        mean = math.cos(step) * mean + math.sin(step) / step * tangent
        mean = mean / length(mean)
    return mean


def gram(mixture: Mixture, tensor: str, from_first: bool) -> np.ndarray:
    """Inner products of the models' tensors, float64 [models, models], read in pieces. With `from_first`: of the
    differences of the other models from the first."""

    def products(span: tuple[int, int]) -> np.ndarray:
        values = mixture.exact(tensor, *span)
        if from_first:
            values = values[1:] - values[0]
        return values @ values.T

    count = len(mixture.models) - from_first
    pieces = spans(0, mixture.models[0].slots[tensor].elements, PIECE)
    return sum(in_order(products, pieces), np.zeros((count, count)))
