"""Model Breadcrumbs: task vectors without their largest and their smallest elements are added; Davari and Belilovsky 2023,
arXiv 2312.06795. The largest are taken for outliers, the smallest for noise, tensor by tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from consomme.average.methods.base import Mix
from consomme.average.methods.task_vectors import Thinned, task_vector_method
from consomme.common.values import Number

if TYPE_CHECKING:
    from consomme.average.thinning import Thinning


class Settings(Thinned):
    """Settings of breadcrumbs."""

    gamma: Number = Field(
        0.01, ge=0, lt=1, description="the fraction of each difference with the largest elements, which is dropped"
    )

    @model_validator(mode="after")
    def _within(self) -> Settings:
        if self.density + self.gamma > 1:
            raise ValueError(
                f"density {self.density:g} and gamma {self.gamma:g} are {self.density + self.gamma:g} together; at most 1"
            )
        return self


def _between(mix: Mix) -> Thinning:
    from consomme.average.thinning import without_tails

    return without_tails(float(mix.settings["density"]), float(mix.settings["gamma"]))


BREADCRUMBS = task_vector_method("breadcrumbs", _between, False, Settings)
