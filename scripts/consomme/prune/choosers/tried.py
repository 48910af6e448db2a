"""The sets of layers that a search has tried."""

from __future__ import annotations

import math

from consomme.common.errors import ConsommeError
from consomme.prune.choosers.base import Question, Steps

Kept = tuple[int, ...]  # the layers kept, from 0, ascending


class Tried:
    """Evaluates each set once."""

    def __init__(self, question: Question) -> None:
        assert question.objective is not None, "a search needs an objective"
        self.question, self._objective = question, question.objective
        self._values: dict[Kept, float] = {}

    def value(self, kept: Kept) -> float:
        """The objective of a set; minus infinity if it is NaN."""
        if kept not in self._values:
            value = self._objective(list(kept))
            self._values[kept] = -math.inf if math.isnan(value) else value
        return self._values[kept]

    def gone(self, kept: Kept) -> list[int]:
        """The layers removed, from 0."""
        return [n for n in range(self.question.depth) if n not in kept]

    def ranked(self, rank: int) -> tuple[Kept, Steps]:
        """The `rank`-th best set of the target depth (ties: the one tried first) and, for a rank above 1, the sets up to it
        as steps."""
        depth, drop = self.question.depth, self.question.drop
        sets = {kept: value for kept, value in self._values.items() if len(kept) == depth - drop}
        best = sorted(sets, key=lambda kept: -sets[kept])
        if rank > len(best):
            raise too_high(rank, len(best))
        steps: Steps = [
            {"rank": i, "layers": [n + 1 for n in self.gone(kept)], "objective": sets[kept]}
            for i, kept in enumerate(best[:rank], 1)
        ]
        return best[rank - 1], steps if rank > 1 else []


def too_high(rank: int, tried: int) -> ConsommeError:
    """The error for a rank above the number of sets tried."""
    return ConsommeError(f"rank: {rank} given; the search tries {tried} sets of that depth, so 1 to {tried}")
