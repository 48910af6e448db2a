"""The mean of the adapters themselves: base + s · mean(B) · mean(A), where a mean of merged models is base + s · mean(B·A).

The two differ: mean(B) · mean(A) has the rank of one adapter and holds products of one run's B with another's A, which mean
something only if the runs began with the same A, as runs of one seed do. The result is an adapter again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from consomme.average.methods.base import Method, Mix


def build(mix: Mix, folder: Path) -> dict[str, Any]:
    """Write the model with the mean adapter, and that adapter beside it."""
    from consomme.average.adapters import MeanOfFactors, read, write
    from consomme.common.model_files import ADAPTER
    from consomme.weights.mean import write_merge

    adapters = {name: read(path / ADAPTER, name) for name, path in mix.parents.items()}
    made = write_merge(folder, mix.parents, lambda models: MeanOfFactors(models, adapters))
    write(folder / ADAPTER, made.mean)
    return {"ingredients": list(mix.parents)}


ADAPTERS = Method("adapters", build, adapters=True)
