"""The mean of all: the uniform soup of Wortsman et al. 2022, arXiv 2203.05482."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from consomme.average.methods.base import Method, Mix


def build(mix: Mix, folder: Path) -> dict[str, Any]:
    """Write the mean of all parents."""
    from consomme.weights.mean import write_mean

    write_mean(folder, mix.parents)
    return {"ingredients": list(mix.parents)}


UNIFORM = Method("uniform", build)
