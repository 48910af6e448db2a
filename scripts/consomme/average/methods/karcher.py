"""The Karcher mean: the point of the sphere with the least squared angles to all models, tensor by tensor; Karcher 1977."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from consomme.average.methods.base import Method, Mix


def build(mix: Mix, folder: Path) -> dict[str, Any]:
    """Write the means of direction, each with the mean length of the models' tensors."""
    from consomme.average.geometry import Karcher
    from consomme.weights.mean import write_merge

    write_merge(folder, mix.parents, Karcher)
    return {"ingredients": list(mix.parents)}


KARCHER = Method("karcher", build)
