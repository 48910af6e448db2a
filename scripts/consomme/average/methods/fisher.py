"""Fisher merging: a mean weighted by how much the loss depends on each weight; Matena and Raffel 2021, arXiv 2111.09832."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from consomme.average.methods.base import Method, Mix
from consomme.common.settings import Section
from consomme.common.values import Integer

EXAMPLES = 128


class Settings(Section):
    """Settings of fisher."""

    examples: Integer | None = Field(
        None, ge=1, le=10**9, description=f"development rows that the gradients are measured on; default {EXAMPLES}"
    )


def build(mix: Mix, folder: Path) -> dict[str, Any]:
    """Write sum(F · model) / sum(F) for each element; the plain mean where F is 0 in all models.

    F is the diagonal of the empirical Fisher information: the mean square of the gradient of one row's log likelihood,
    over `examples` rows of the development sets."""
    from consomme.average.information import Fisher, squares
    from consomme.average.measured import measured
    from consomme.weights.mean import write_merge

    examples = int(mix.setting("examples", EXAMPLES))
    seed = int(mix.setting("seed", 0))
    with measured(mix.judge(), mix.parents, folder, squares, examples, seed) as information:
        write_merge(folder, mix.parents, lambda models: Fisher(models, information))
    return {"ingredients": list(mix.parents), "examples": examples}


FISHER = Method("fisher", build, least=2, settings=Settings, chooses=lambda settings: True, seeded=True, limits=False)
