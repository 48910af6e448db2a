"""A mean with a weight for each model, for all tensors or by side (encoder, decoder) or name pattern."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from consomme.average.methods.base import Method, Mix
from consomme.common.errors import ConsommeError
from consomme.common.settings import Section
from consomme.common.values import Number

if TYPE_CHECKING:
    from consomme.weights.tensors import Weights


class Settings(Section):
    """Settings of weighted."""

    weights: list[Number] | dict[str, list[Number]] = Field(
        description="one for each model, in their order; or {encoder, decoder or name pattern: list}"
    )


def build(mix: Mix, folder: Path) -> dict[str, Any]:
    """Write sum(w · model) / sum(w). `weights` is a list in the models' order, or {side or name pattern: list}: the
    first match counts, and tensors without a match get the plain mean."""
    from consomme.weights.mean import ByTensor, write_mean, write_merge

    given, count = mix.settings["weights"], len(mix.parents)
    if not isinstance(given, Mapping):
        shares(given, count)
        write_mean(folder, mix.parents, given, divisor=sum(given))  # divide last: one rounding instead of two
        return {"ingredients": list(mix.parents), "weights": list(given)}
    donor = next(iter(mix.parents.values()))
    rules = [(_pattern(key, donor), shares(weights, count)) for key, weights in given.items()]
    plain = [1 / count] * count

    def of(tensor: str) -> Sequence[float]:
        return next((share for pattern, share in rules if fnmatchcase(tensor, pattern)), plain)

    def mixture(models: Sequence[Weights]) -> ByTensor:
        made = ByTensor(models, of)
        for pattern, _ in rules:
            if not any(fnmatchcase(tensor, pattern) for tensor in made.layout):
                some = ", ".join(list(made.layout)[:3])
                raise ConsommeError(f"weights: no tensor has a name like '{pattern}'; there are {some}, ...")
        return made

    write_merge(folder, mix.parents, mixture)
    return {"ingredients": list(mix.parents), "weights": dict(given)}


def shares(weights: Sequence[float], count: int) -> list[float]:
    """The weights divided by their sum. ConsommeError unless there are `count` of them with a positive sum."""
    if len(weights) != count:
        raise ConsommeError(f"weights: {len(weights)} given for {count} models")
    total = sum(weights)
    if not total > 0:
        raise ConsommeError(f"weights: their sum is {total:g}; it must be more than 0")
    return [w / total for w in weights]


def _pattern(key: str, model: Path) -> str:
    """The name pattern of a key: a side's tensors by their common prefix; other keys are patterns already."""
    from consomme.families import family_of

    if key not in ("encoder", "decoder"):
        return key
    stacks = family_of(model).stacks
    if key not in stacks:
        raise ConsommeError(f"weights.{key}: {model} has no {key}; it has: {', '.join(stacks)}")
    return stacks[key].layers.rpartition(".")[0] + ".*"


WEIGHTED = Method("weighted", build, settings=Settings)
