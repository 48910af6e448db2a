"""Examples joined with others of their corpus: longer utterances, and sentences with unrelated neighbours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import Field

from consomme.common.errors import ConsommeError
from consomme.common.settings import Section
from consomme.common.values import Integer, Number
from consomme.train.augment.base import Kind

if TYPE_CHECKING:
    import numpy as np

    from consomme.train.augment.base import Context

# (number of candidates, generator) -> numbers of the rows to join
Others = Callable[[int, "np.random.Generator"], list[int]]


class Concatenate(Section):
    """Examples joined with others of their corpus, of the same speaker if speakers are known."""

    utterances: Integer = Field(2, ge=2, le=1000, description="most examples in a joined one")
    seconds: Number = Field(30.0, gt=0, le=10**6, description="asr: longest joined example, seconds")
    probability: Number = Field(0.5, ge=0, le=1, description="probability that an example is joined with others")


def build(settings: Mapping[str, Any], context: Context) -> Others:
    """settings: utterances: most examples in a joined one; probability: 0..1, that an example is joined. (`seconds`, the
    longest joined example, is checked by the caller.)"""
    if settings["utterances"] < 2:
        raise ConsommeError(f"augment.concatenate.utterances: {settings['utterances']}: at least 2 are needed")
    return partial(others, most=settings["utterances"], probability=settings["probability"])


def others(number: int, generator: np.random.Generator, most: int, probability: float) -> list[int]:
    """Draw rows to join to an example: numbers below `number`, each at most once. Their count is 1 to `most` - 1, each
    equally probable, or 0 with probability 1 - `probability`."""
    if generator.random() >= probability or not number:
        return []
    count = min(int(generator.integers(1, most)), number)
    return generator.choice(number, count, replace=False).tolist()


CONCATENATE = Kind(
    "concatenate",
    "rows",
    ("asr", "nmt"),
    build,
    Concatenate,
    "examples joined with others of their corpus; true for the defaults",
)
