"""Sums of task vectors (differences of tuned models from their base), made sparse before they are added."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from consomme.average.thinning import Thinning, whole_rows
from consomme.common.errors import ConsommeError
from consomme.weights.mean import Combination, Spans
from consomme.weights.tensors import Weights


class TaskVectors(Combination):
    """base + scale · merged(thinned task vectors). The base is the first model; `weights` has one for each of the others.

    Without `elect` the task vectors are added with their weights (Ilharco et al. 2022, arXiv 2212.04089). With it, each
    element is the weighted mean of the task vectors that have the sign of their weighted sum there (TIES, Yadav et al.
    2023, arXiv 2306.01708). by_row: the thinning looks at whole rows."""

    def __init__(
        self,
        models: Sequence[Weights],
        weights: Sequence[float],
        scale: float,
        thinning: Thinning,
        elect: bool,
        by_row: bool = False,
    ) -> None:
        super().__init__(models)
        self.divisor = 1.0
        self.weights, self.scale, self.thinning, self.elect = np.asarray(weights, float), scale, thinning, elect
        self.by_row = by_row
        if len(weights) != len(models) - 1:
            raise ConsommeError(f"{len(weights)} weights for {len(models) - 1} models")

    def combine(self, tensor: str, spans: Spans) -> Iterator[np.ndarray]:
        thin = self.thinning(self, self.copies.get(tensor, tensor))  # tied weights stay tied
        for begin, end in whole_rows(self.models[0].slots[tensor].shape) if self.by_row else spans:
            found = self.exact(tensor, begin, end)
            yield found[0] + self.scale * self._merged(thin(found[1:] - found[0]))

    def _merged(self, vectors: np.ndarray) -> np.ndarray:
        weighted = vectors * self.weights[:, None]
        total = weighted.sum(axis=0)
        if not self.elect:
            return total
        agree = (np.sign(weighted) == np.sign(total)) & (weighted != 0)
        among = (agree * self.weights[:, None]).sum(axis=0)
        return np.divide((weighted * agree).sum(axis=0), among, out=np.zeros_like(total), where=among != 0)
