"""Times of words: a transcript's pieces gathered into words, and its tokens laid along the audio."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

from consomme.families.base import Segment

if TYPE_CHECKING:
    import numpy as np

# marks behind a word, which are not said: a recogniser writes them in the pause
MARKS = frozenset(".,;:!?…\"'”’)]}。，、；：！？")
# scripts whose words have no spaces between them, by the first word of their letters' names: a letter is a word there
UNSPACED = frozenset(("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "MYANMAR", "KHMER"))


def gathered(pieces: Iterable[tuple[str, float, float]]) -> list[Segment]:
    """The words of a transcript's pieces (text, start, end), in seconds and in their order. A space parts words. A word ends
    where the marks behind it begin; one that would then take no time ends with them."""
    words: list[list[tuple[str, float, float]]] = []
    apart = True
    for text, start, end in pieces:
        said = text.strip()
        apart = apart or text[:1].isspace()
        if said:
            if apart or _alone(said, words[-1]):
                words.append([])
            words[-1].append((said, start, end))
            apart = text[-1:].isspace()
    return [_word(parts) for parts in words]


def _alone(said: str, before: list[tuple[str, float, float]]) -> bool:
    """Whether a piece begins a word without a space before it."""
    return not MARKS.issuperset(said) and (_unspaced(said[0]) or _unspaced(before[-1][0][-1]))


def _unspaced(letter: str) -> bool:
    return unicodedata.name(letter, "").split(" ")[0] in UNSPACED


def _word(parts: list[tuple[str, float, float]]) -> Segment:
    start, last = parts[0][1], parts[-1][2]
    end = next((end for said, _, end in reversed(parts) if not MARKS.issuperset(said)), last)
    return Segment(start, end if end > start else last, "".join(said for said, *_ in parts))


def laid(cost: np.ndarray) -> np.ndarray:
    """The frame at which each token begins [tokens], int64, on the cheapest way through `cost` [tokens, frames] from the
    first token in the first frame to the last in the last: dynamic time warping, in which a frame may have several tokens."""
    import numpy as np

    tokens, frames = cost.shape
    places = np.arange(frames)
    entered = np.empty((tokens, frames), np.int64)  # where the way that is now here came to this token
    came = np.empty((tokens, frames), np.int64)  # where it had been before, by the frame in which it came
    above = np.full(frames, np.inf)
    above[0] = 0.0
    for token in range(tokens):
        along = np.cumsum(cost[token])
        way = above - (along - cost[token])  # of coming here in a frame, less what staying up to it would have cost
        least = np.minimum.accumulate(way)
        entered[token] = np.maximum.accumulate(np.where(way <= least, places, 0))
        here = least + along
        before = np.concatenate(([np.inf], here[:-1]))
        above = np.minimum(before, here)
        came[token] = np.where(before <= here, places - 1, places)
    starts, place = np.empty(tokens, np.int64), frames - 1
    for token in range(tokens - 1, -1, -1):
        starts[token] = entered[token, place]
        place = came[token - 1, starts[token]] if token else 0
    return starts
