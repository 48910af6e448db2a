"""Model Stock: between a few tuned models and their base, by the angle between them; Jang et al. 2024, arXiv 2403.19522."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from consomme.average.methods.base import Method, Mix, WithBase


def build(mix: Mix, folder: Path) -> dict[str, Any]:
    """Write the model. The share of the tuned models' mean differs by tensor; the result has least, median and most."""
    from consomme.average.geometry import ModelStock
    from consomme.weights.mean import write_merge

    made = write_merge(folder, mix.parents, ModelStock)
    found = sorted(made.shares.values())
    return {
        "ingredients": mix.ingredients,
        "base": mix.base,
        "share": {"least": found[0], "median": found[len(found) // 2], "most": found[-1]},
    }


MODEL_STOCK = Method("model_stock", build, least=2, settings=WithBase)
