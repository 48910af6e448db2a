"""A mean in which each weight counts by how much the loss minds it: Fisher merging, Matena and Raffel 2021, arXiv 2111.09832."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from consomme.average.methods.base import Method, Mix
from consomme.common.stage import say

EXAMPLES = 128


def build(mix: Mix, folder: Path) -> dict[str, Any]:
    """Write sum(F · model) / sum(F), element by element; where no model's F is above 0, the plain mean.

    F is the diagonal of the empirical Fisher information: the mean square of the gradient of one row's log likelihood,
    over `examples` rows of the development sets, the same for all models."""
    from consomme.average.information import Fisher, squares
    from consomme.average.mean import write_merge
    from consomme.average.tensors import SINGLE, Weights

    judge, examples = mix.judge(), int(mix.setting("examples", EXAMPLES))
    with TemporaryDirectory(dir=folder.parent, prefix=".fisher-") as place:
        for i, (name, path) in enumerate(mix.parents.items()):
            (Path(place) / str(i)).mkdir()
            squares(judge, path, examples, int(mix.setting("seed", 0)), Path(place) / str(i) / SINGLE)
            say(f"fisher: {name}: {examples} rows")
        information = [Weights(Path(place) / str(i), name) for i, name in enumerate(mix.parents)]
        try:
            write_merge(folder, mix.parents, lambda models: Fisher(models, information))
        finally:
            for one in information:
                one.close()
    return {"ingredients": list(mix.parents), "examples": examples}


FISHER = Method(
    "fisher", build, least=2, settings=("examples",), chooses=lambda settings: True, seeded=True, limits=False
)
