"""Words of the source left out (Iyyer et al. 2015; in translation Sennrich, Haddow, Birch 2016)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from consomme.common.errors import ConsommeError
from consomme.common.values import Number
from consomme.train.augment.base import Kind

if TYPE_CHECKING:
    import numpy as np

    from consomme.train.augment.base import Change, Context


def build(settings: float, context: Context) -> Change:
    """settings: the probability that a word is left out, above 0 and below 1."""
    if not 0 < settings < 1:
        raise ConsommeError(f"augment.word_dropout: {settings}: a probability above 0 and below 1 is needed, e.g. 0.1")
    return partial(change, probability=settings)


def change(text: str, generator: np.random.Generator, probability: float) -> str:
    """The text without some of its words, which are separated by spaces. At least one word is kept."""
    words = text.split()
    stays = generator.random(len(words)) >= probability
    if stays.all():
        return text
    if not stays.any():
        stays[int(generator.integers(len(words)))] = True
    return " ".join(word for word, kept in zip(words, stays, strict=True) if kept)


WORD_DROPOUT = Kind(
    "word_dropout",
    "source",
    ("nmt",),
    build,
    Annotated[Number, Field(ge=0, lt=1)],
    "probability that a source word is left out",
)
