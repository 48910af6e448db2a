"""The ensemble, which soups are compared with: the models' output distributions averaged per decoding step or frame.

Its cost is that of all members together (Hansen and Salamon 1990); a soup's is that of one model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from consomme.average.methods.base import Method, Mix


def build(mix: Mix, folder: Path) -> dict[str, Any]:
    """Link the members' files into `folder`/members and name them in ensemble.json; other files are those of the first."""
    from consomme.common.files import link_file, write_json
    from consomme.common.model_files import copy_inherited, inherited
    from consomme.common.tensor_files import weight_files
    from consomme.families.ensemble import FILE
    from consomme.weights.compatibility import check_words
    from consomme.weights.tensors import Weights

    opened = [Weights(path, name) for name, path in mix.parents.items()]  # refuses pickles and damaged files
    check_words(opened)
    copy_inherited(next(iter(mix.parents.values())), folder)
    members = []
    for number, path in enumerate(mix.parents.values(), start=1):
        place = Path("members") / str(number)
        for file in [*inherited(path), *(weights.relative_to(path) for weights in weight_files(path, str(path)))]:
            (folder / place / file).parent.mkdir(parents=True, exist_ok=True)
            link_file(path / file, folder / place / file)
        members.append(place.as_posix())
    write_json(folder / FILE, {"members": members})
    return {"ingredients": list(mix.parents)}


ENSEMBLE = Method("ensemble", build, least=2, mixes=False)
