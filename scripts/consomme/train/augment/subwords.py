"""Subword sampling: from a unigram model (Kudo 2018, arXiv 1804.10959), or by dropout of merges in byte-pair encoding
(Provilkov, Emelianenko, Voita 2020, arXiv 1910.13267).

SentencePiece's own sampling uses one generator per thread, so that a text's subwords would depend on earlier draws. Here
the scores come from the tokenizer, and the draws from the utterance's own generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from consomme.common.errors import ConsommeError
from consomme.common.settings import Section
from consomme.common.values import Number
from consomme.train.augment.base import Kind

if TYPE_CHECKING:
    import numpy as np

    from consomme.families.base import Subwords
    from consomme.train.augment.base import Context

# text, generator, the row's languages -> token ids with the special tokens
Encode = Callable[..., list[int]]
UNKNOWN = 10.0  # an unknown character scores this much less than the worst piece, as in SentencePiece


class SubwordSampling(Section):
    """Sentences cut into different subwords each time."""

    sides: Annotated[
        list[Literal["source", "target"]],
        BeforeValidator(
            lambda value: [value] if isinstance(value, str) else value,
            json_schema_input_type=Literal["source", "target"] | list[Literal["source", "target"]],
        ),
    ] = Field(["source", "target"], min_length=1, description="source, target or both")
    alpha: Number = Field(
        0.2, gt=0, description="unigram: smoothing; smaller values vary more (Kudo 2018, arXiv 1804.10959)"
    )
    dropout: Number = Field(0.1, ge=0, le=1, description="bpe: probability that a merge is left out (arXiv 1910.13267)")


def build(settings: Mapping[str, Any], context: Context) -> Mapping[str, Encode]:
    """Side -> encoder. settings: sides: source, target or both; alpha: above 0, for a unigram model, smaller values make the
    segmentations more equally probable; dropout: 0..1, for byte-pair encoding, the probability that a merge is left out."""
    found = {}
    for side in settings["sides"]:
        table = context.subwords(side) if context.subwords else None
        if table is None:
            raise ConsommeError("augment.subwords: this model's tokenizer gives no scores of its subwords")
        found[side] = partial(encode, table=table, settings=settings, longest=max(map(len, table.scores), default=1))
    return found


def encode(
    text: str,
    generator: np.random.Generator,
    languages: Sequence[str] = (),
    *,
    table: Subwords,
    settings: Mapping[str, Any],
    longest: int,
) -> list[int]:
    """Token ids of `text` with sampled subwords."""
    before, spelled = table.spell(text, languages)
    if table.kind == "unigram":
        pieces = sample(spelled, table.scores, settings["alpha"], generator, longest)
    else:
        pieces = merge(spelled, table.scores, settings["dropout"], generator)
    return table.ids([*before, *joined(pieces, table.scores)], languages)


def joined(pieces: list[str], known: Mapping[str, float]) -> list[str]:
    """`pieces` with adjacent unknown ones joined, as in SentencePiece."""
    found: list[str] = []
    for piece in pieces:
        if found and piece not in known and found[-1] not in known:
            found[-1] += piece
        else:
            found.append(piece)
    return found


def sample(
    text: str, scores: Mapping[str, float], alpha: float, generator: np.random.Generator, longest: int
) -> list[str]:
    """Pieces of `text`, drawn with probability in proportion to exp(alpha * the sum of their log probabilities).

    Forward filtering, backward sampling: reach[i] is the log of the total weight of all segmentations of the first i
    characters.
    scores: piece -> log probability; longest: characters of the longest piece."""
    worst = min(scores.values(), default=0.0) - UNKNOWN
    reach = [0.0]
    ways: list[list[tuple[int, float]]] = [[]]  # for each end: (start of the last piece, log weight)
    for end in range(1, len(text) + 1):
        here = []
        for start in range(max(0, end - longest), end):
            score = scores.get(text[start:end])
            if score is None and start == end - 1:
                score = worst
            if score is not None:
                here.append((start, reach[start] + alpha * score))
        top = max(weight for _, weight in here)
        reach.append(top + math.log(sum(math.exp(weight - top) for _, weight in here)))
        ways.append(here)
    pieces, end = [], len(text)
    while end:
        drawn = generator.random()
        begin, _ = ways[end][-1]  # if rounding leaves a remainder
        for start, weight in ways[end]:
            drawn -= math.exp(weight - reach[end])
            if drawn < 0:
                begin = start
                break
        pieces.append(text[begin:end])
        end = begin
    return pieces[::-1]


def merge(text: str, scores: Mapping[str, float], dropout: float, generator: np.random.Generator) -> list[str]:
    """Pieces of `text` by byte-pair encoding with dropout: each step merges the two neighbours with the highest score, and
    ignores each possible merge with probability `dropout`.

    Pieces don't cross the start of a word, so each word is segmented separately."""
    pieces: list[str] = []
    for word in text.replace("▁", " ▁").split(" "):
        parts = list(word)
        while len(parts) > 1:
            places = [i for i in range(len(parts) - 1) if parts[i] + parts[i + 1] in scores]
            if dropout and places:
                stays = generator.random(len(places)) >= dropout
                places = [i for i, kept in zip(places, stays, strict=True) if kept]
            if not places:
                break
            best = max(places, key=lambda i: scores[parts[i] + parts[i + 1]])
            parts[best : best + 2] = [parts[best] + parts[best + 1]]
        pieces += parts
    return pieces


SUBWORDS = Kind(
    "subwords",
    "tokens",
    ("nmt",),
    build,
    SubwordSampling,
    "sentences cut into different subwords each time; true for the defaults",
)
