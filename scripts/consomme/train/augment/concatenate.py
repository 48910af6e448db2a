"""Examples joined with others of their corpus: longer utterances, and sentences beside strange neighbours."""

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

Others = Callable[[int, "np.random.Generator"], list[int]]


class Concatenate(Section):
    """Examples joined with others of their corpus, of the same speaker where speakers are named."""

    utterances: Integer = Field(2, ge=2, description="at most so many in one")
    seconds: Number = Field(30.0, gt=0, description="asr: at most so long")
    probability: Number = Field(0.5, ge=0, le=1, description="of an example being joined with others")


def build(settings: Mapping[str, Any], context: Context) -> Others:
    """`settings`: utterances: at most so many in one; probability 0..1 that an example is joined with others. (How long
    the whole may become, `seconds`, is up to who joins.)"""
    if settings["utterances"] < 2:
        raise ConsommeError(f"augment.concatenate.utterances: {settings['utterances']}: at least 2 make a longer one")
    return partial(others, most=settings["utterances"], probability=settings["probability"])


def others(number: int, generator: np.random.Generator, most: int, probability: float) -> list[int]:
    """Those of `number` others, counted from 0, that follow an example: 1 to `most` - 1 of them with equal chance, each
    once; none where none were drawn."""
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
