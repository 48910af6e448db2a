"""TSV-M: the leading singular vectors of each model's task matrices, made orthogonal to those of the others, and added;
Gargiulo et al. 2024, arXiv 2412.00081. With `boost` BoostedTSV-M, Carvalho et al. 2026, arXiv 2603.05354."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from consomme.average.methods.base import Method, Mix, WithBase
from consomme.common.values import Number


class Settings(WithBase):
    """Settings of tsv."""

    scale: Number | None = Field(
        None, ge=-100, le=100, description="factor of the merged differences from the base; default 1"
    )
    rank: Number | None = Field(
        None,
        gt=0,
        le=1,
        description="the fraction of singular values that is kept of each matrix of each model; default: 1 over the number of "
        "models",
    )
    boost: Number | None = Field(
        None,
        gt=0,
        le=1,
        description="BoostedTSV-M: the largest singular values that make up this share of their sum stay, and the smaller ones "
        "are raised to the least of them; default: none are raised",
    )


def build(mix: Mix, folder: Path) -> dict[str, Any]:
    """Write base + scale · the merged task matrices; the mean of the task vectors for what is no matrix."""
    from consomme.average.task_matrices import TaskMatrices, decorrelated
    from consomme.weights.mean import write_merge

    scale, rank, boost = float(mix.setting("scale", 1.0)), mix.settings.get("rank"), mix.settings.get("boost")
    merge = decorrelated(rank, boost)
    write_merge(folder, mix.parents, lambda models: TaskMatrices(models, scale, merge))
    used = {"rank": rank or 1 / len(mix.ingredients), **({"boost": boost} if boost else {})}
    return {"ingredients": mix.ingredients, "base": mix.base, "scale": scale, **used}


TSV = Method("tsv", build, settings=Settings)
