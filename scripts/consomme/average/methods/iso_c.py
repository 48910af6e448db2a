"""Iso-C: the sum of the task matrices with all singular values equal; Marczak et al. 2025, arXiv 2502.04959."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from consomme.average.methods.base import Method, Mix, WithBase
from consomme.common.values import Number


class Settings(WithBase):
    """Settings of iso_c."""

    scale: Number | None = Field(
        None, ge=-100, le=100, description="factor of the merged differences from the base; default 1"
    )


def build(mix: Mix, folder: Path) -> dict[str, Any]:
    """Write base + scale · the merged task matrices; the mean of the task vectors for what is no matrix."""
    from consomme.average.task_matrices import TaskMatrices, isotropic
    from consomme.weights.mean import write_merge

    scale = float(mix.setting("scale", 1.0))
    write_merge(folder, mix.parents, lambda models: TaskMatrices(models, scale, isotropic))
    return {"ingredients": mix.ingredients, "base": mix.base, "scale": scale}


ISO_C = Method("iso_c", build, settings=Settings)
