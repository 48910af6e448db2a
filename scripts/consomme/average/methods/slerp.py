"""Spherical interpolation between two models, tensor by tensor; Shoemake 1985."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from consomme.average.methods.base import Method, Mix
from consomme.common.settings import Section
from consomme.common.values import Number


class Settings(Section):
    """Settings of slerp."""

    alpha: Number = Field(ge=0, le=1, description="0 is the first model, 1 the second")


def build(mix: Mix, folder: Path) -> dict[str, Any]:
    """Write the model at `alpha`: 0 is the first model, 1 the second."""
    from consomme.average.geometry import Slerp
    from consomme.weights.mean import write_merge

    alpha = float(mix.settings["alpha"])
    write_merge(folder, mix.parents, lambda models: Slerp(models, alpha))
    return {"ingredients": list(mix.parents), "alpha": alpha}


SLERP = Method("slerp", build, least=2, most=2, settings=Settings)
