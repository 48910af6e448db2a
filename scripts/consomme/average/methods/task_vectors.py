"""Merging by task vectors, the differences of tuned models from their base. One family of methods: the vectors may be
thinned, by magnitude or at random, and signs may be put to the vote.

Task arithmetic: Ilharco et al. 2022, arXiv 2212.04089. TIES: Yadav et al. 2023, arXiv 2306.01708. DARE: Yu et al. 2023,
arXiv 2311.03099."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.average.methods.base import Method, Mix
from consomme.common.errors import ConsommeError

if TYPE_CHECKING:
    from consomme.average.task_vectors import Thinning

SETTINGS = ("base", "scale", "weights")


def _method(name: str, thinning: Callable[[Mix], Thinning], elect: bool, *more: str, seeded: bool = False) -> Method:
    def build(mix: Mix, folder: Path) -> dict[str, Any]:
        from consomme.average.task_vectors import TaskVectors
        from consomme.weights.mean import write_merge

        scale = float(mix.setting("scale", 1.0))
        weights = mix.setting("weights", [1.0] * len(mix.ingredients))
        if len(weights) != len(mix.ingredients):
            raise ConsommeError(f"weights: {len(weights)} given for {len(mix.ingredients)} models beside the base")
        thin = thinning(mix)
        write_merge(folder, mix.parents, lambda models: TaskVectors(models, weights, scale, thin, elect))
        used = {key: mix.settings[key] for key in more}
        return {
            "ingredients": mix.ingredients,
            "base": mix.base,
            "scale": scale,
            "weights": weights,
            **used,
        }

    return Method(name, build, settings=(*SETTINGS, *more), needs=more, seeded=seeded)


def _whole(mix: Mix) -> Thinning:
    from consomme.average.task_vectors import whole

    return whole


def _trimmed(mix: Mix) -> Thinning:
    from consomme.average.task_vectors import trimmed

    return trimmed(float(mix.settings["density"]))


def _dropped(mix: Mix) -> Thinning:
    from consomme.average.task_vectors import dropped

    return dropped(float(mix.settings["density"]), int(mix.setting("seed", 0)))


TASK_ARITHMETIC = _method("task_arithmetic", _whole, False)
TIES = _method("ties", _trimmed, True, "density")
DARE_LINEAR = _method("dare_linear", _dropped, False, "density", seeded=True)
DARE_TIES = _method("dare_ties", _dropped, True, "density", seeded=True)
