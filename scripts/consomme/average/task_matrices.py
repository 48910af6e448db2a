"""Sums of task matrices, the differences of tuned models' matrices from their base's, by their singular values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from consomme.weights.compatibility import vocabulary_sizes
from consomme.weights.mean import Combination, Spans
from consomme.weights.tensors import Weights

Merge = Callable[[Sequence[np.ndarray]], np.ndarray]  # task matrices, float64 [rows, columns] each -> one of that shape


class TaskMatrices(Combination):
    """base + scale · merge(task matrices). The base is the first model.

    Tensors that are no matrices get the mean of the task vectors, as in the code of both papers: biases, norms,
    convolutions, and what has a row for each token of the vocabulary, which is a list of vectors. Memory holds one
    matrix of every model."""

    def __init__(self, models: Sequence[Weights], scale: float, merge: Merge) -> None:
        super().__init__(models)
        self.divisor = 1.0
        self.scale, self.merge, self.vocabularies = scale, merge, vocabulary_sizes(models[0].folder)

    def combine(self, tensor: str, spans: Spans) -> Iterator[np.ndarray]:
        slot = self.models[0].slots[tensor]
        if len(slot.shape) != 2 or slot.elements == 0 or slot.shape[0] in self.vocabularies:
            for begin, end in spans:
                base, *tuned = self.exact(tensor, begin, end)
                yield base + self.scale * (np.mean(tuned, axis=0) - base)
            return
        base, *tuned = self.exact(tensor, 0, slot.elements)
        merged = self.merge([(values - base).reshape(slot.shape) for values in tuned])
        total = base + self.scale * merged.ravel()
        for begin, end in spans:
            yield total[begin:end]


def decorrelated(rank: float | None, boost: float | None) -> Merge:
    """TSV-M (Gargiulo et al. 2024, arXiv 2412.00081, algorithm 1): U Σ V of each task matrix, cut to its leading singular
    values, side by side; the result is P(U) Σ P(V), where P gives the nearest matrix with orthonormal columns.

    rank: the fraction that is kept of each matrix's min(rows, columns) singular values; None: 1 over the number of
    matrices. boost: before the cut, singular values below the first at which their running sum reaches this share of the
    whole are raised to it. That is the boosting of Skorobogat et al. 2025, arXiv 2506.16506, which BoostedTSV-M (arXiv
    2603.05354) applies to each task matrix; None: none are raised. Singular values of 0 stay 0, as their vectors are
    arbitrary."""

    def merge(matrices: Sequence[np.ndarray]) -> np.ndarray:
        least = min(matrices[0].shape)
        keep = max(1, least // len(matrices) if rank is None else int(rank * least + 1e-9))
        lefts, values, rights = zip(*(_svd(matrix) for matrix in matrices), strict=True)
        raised = np.concatenate([(_boosted(v, boost) if boost else v)[:keep] for v in values])
        left, right = (np.concatenate([side[:, :keep] for side in sides], axis=1) for sides in (lefts, rights))
        return (_orthonormal(left) * raised) @ _orthonormal(right).T

    return merge


def isotropic(matrices: Sequence[np.ndarray]) -> np.ndarray:
    """Iso-C (Marczak et al. 2025, arXiv 2502.04959, equation 6): the sum of the matrices with each of its singular values
    replaced by their mean. Singular values of 0 stay 0, as their vectors are arbitrary."""
    left, values, right = _svd(np.sum(matrices, axis=0))
    return values.sum() / min(matrices[0].shape) * (left @ right.T)


def _svd(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U [rows, n], the n singular values that are not 0, falling, and V [columns, n]: matrix = U Σ Vᵀ. Those within the
    rounding of the largest count as 0."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    there = values > values.max(initial=0.0) * max(matrix.shape) * np.finfo(float).eps
    return left[:, there], values[there], right[there].T


def _boosted(values: np.ndarray, share: float) -> np.ndarray:
    """Falling singular values, none below the first at which their running sum reaches `share` of the whole."""
    running = values.cumsum()
    return np.maximum(values, values[np.searchsorted(running, share * running[-1])]) if len(values) else values


def _orthonormal(matrix: np.ndarray) -> np.ndarray:
    """The nearest matrix with orthonormal columns (orthogonal Procrustes: Schönemann 1966); where the columns depend on each
    other, the nearest partial isometry."""
    left, _, right = _svd(matrix)
    return left @ right.T
