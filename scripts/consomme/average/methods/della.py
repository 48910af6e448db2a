"""DELLA: as `dare_ties`, but small elements are dropped more often than large ones; Deep et al. 2024, arXiv 2406.11617."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from consomme.average.methods.base import Mix
from consomme.average.methods.task_vectors import Thinned, task_vector_method
from consomme.common.values import Number

if TYPE_CHECKING:
    from consomme.average.thinning import Thinning


class Settings(Thinned):
    """Settings of della."""

    epsilon: Number = Field(
        0.2,
        ge=0,
        lt=1,
        description="from the smallest to the largest element of a row, the probability of being kept rises by this, from "
        "density - epsilon/2 to density + epsilon/2",
    )

    @model_validator(mode="after")
    def _within(self) -> Settings:
        low, high = self.density - self.epsilon / 2, self.density + self.epsilon / 2
        if low < 0 or high > 1:
            raise ValueError(
                f"density {self.density:g} with epsilon {self.epsilon:g} gives probabilities from {low:g} to {high:g}; they must "
                f"lie in 0..1, so epsilon is at most {2 * min(self.density, 1 - self.density):g}"
            )
        return self


def _by_rank(mix: Mix) -> Thinning:
    from consomme.average.thinning import dropped_by_rank

    settings = mix.settings
    return dropped_by_rank(float(settings["density"]), float(settings["epsilon"]), int(mix.setting("seed", 0)))


DELLA = task_vector_method("della", _by_rank, True, Settings, seeded=True, by_row=True)
