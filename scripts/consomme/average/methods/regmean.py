"""RegMean: linear layers with outputs closest to each model's on its own inputs; Jin et al. 2022, arXiv 2212.09849."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from consomme.average.methods.base import Method, Mix
from consomme.common.settings import Section
from consomme.common.values import Integer

EXAMPLES = 128
SHRINK = 0.9  # factor of the off-diagonal elements of the Gram matrices; the paper's value for most of its models


class Settings(Section):
    """Settings of regmean."""

    examples: Integer | None = Field(
        None,
        ge=1,
        le=10**9,
        description=f"development rows that the layers' inputs are measured on; default {EXAMPLES}",
    )


def build(mix: Mix, folder: Path) -> dict[str, Any]:
    """Write the regression mean. The inputs of each model's layers are measured on `examples` rows of the development
    sets."""
    from consomme.average.measured import measured
    from consomme.average.regression import RegMean, grams
    from consomme.weights.mean import write_merge

    examples = int(mix.setting("examples", EXAMPLES))
    seed = int(mix.setting("seed", 0))
    with measured(mix.judge(), mix.parents, folder, grams, examples, seed) as known:
        write_merge(folder, mix.parents, lambda models: RegMean(models, known, SHRINK))
    return {"ingredients": list(mix.parents), "examples": examples, "shrink": SHRINK}


REGMEAN = Method("regmean", build, least=2, settings=Settings, chooses=lambda settings: True, seeded=True, limits=False)
