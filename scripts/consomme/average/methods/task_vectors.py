"""Merging by task vectors, the differences of tuned models from their base. The methods differ in whether vectors are
made sparse, by magnitude or at random, and whether signs are elected.

Task arithmetic: Ilharco et al. 2022, arXiv 2212.04089. TIES: Yadav et al. 2023, arXiv 2306.01708. DARE: Yu et al. 2023,
arXiv 2311.03099."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from consomme.average.methods.base import Method, Mix, WithBase
from consomme.common.errors import ConsommeError
from consomme.common.values import Number

if TYPE_CHECKING:
    from consomme.average.thinning import Thinning


class Settings(WithBase):
    """Settings of task_arithmetic."""

    weights: list[Number] | None = Field(None, description="one for each model; default: 1 each")
    scale: Number | None = Field(
        None, ge=-100, le=100, description="factor of the merged differences from the base; default 1"
    )

    @field_validator("weights", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if isinstance(value, dict):
            raise ValueError("a task vector takes a list; weights by side or name pattern belong to weighted")
        return value


class Thinned(Settings):
    """Settings of methods that keep a part of each difference."""

    density: Number = Field(gt=0, le=1, description="the fraction of each difference from the base that is kept")


def task_vector_method(
    name: str,
    thinning: Callable[[Mix], Thinning],
    elect: bool,
    settings: type[Settings] = Settings,
    seeded: bool = False,
    by_row: bool = False,
) -> Method:
    """The method that adds thinned task vectors to the base. elect, by_row: as in `TaskVectors`."""

    def build(mix: Mix, folder: Path) -> dict[str, Any]:
        from consomme.average.task_vectors import TaskVectors
        from consomme.weights.mean import write_merge

        scale = float(mix.setting("scale", 1.0))
        weights = mix.setting("weights", [1.0] * len(mix.ingredients))
        if len(weights) != len(mix.ingredients):
            raise ConsommeError(f"weights: {len(weights)} given for {len(mix.ingredients)} models beside the base")
        thin = thinning(mix)
        write_merge(folder, mix.parents, lambda models: TaskVectors(models, weights, scale, thin, elect, by_row))
        used = {key: mix.settings[key] for key in settings.model_fields if key not in Settings.model_fields}
        return {"ingredients": mix.ingredients, "base": mix.base, "scale": scale, "weights": weights, **used}

    return Method(name, build, settings=settings, seeded=seeded)


def _whole(mix: Mix) -> Thinning:
    from consomme.average.thinning import whole

    return whole


def _trimmed(mix: Mix) -> Thinning:
    from consomme.average.thinning import trimmed

    return trimmed(float(mix.settings["density"]))


def _dropped(mix: Mix) -> Thinning:
    from consomme.average.thinning import dropped

    return dropped(float(mix.settings["density"]), int(mix.setting("seed", 0)))


TASK_ARITHMETIC = task_vector_method("task_arithmetic", _whole, False)
TIES = task_vector_method("ties", _trimmed, True, Thinned)
DARE_LINEAR = task_vector_method("dare_linear", _dropped, False, Thinned, seeded=True)
DARE_TIES = task_vector_method("dare_ties", _dropped, True, Thinned, seeded=True)
