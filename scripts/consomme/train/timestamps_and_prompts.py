"""What Whisper writes and reads beside the words: timestamps in a share of the labels, earlier text before a share.

Tuned without them, a model forgets both. Which examples get them depends on (seed, turn, corpus, id) alone, as
augmentation does, and on no setting of augmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from consomme.common.errors import Unusable
from consomme.data.earlier import Earlier
from consomme.train.augment import generator_of

if TYPE_CHECKING:
    from consomme.families.base import Family
    from consomme.train.examples import Corpus, Example


@dataclass(frozen=True)
class TimestampsAndPrompts:
    """timestamps, previous_text: the shares of the examples that have them, 0 to 1."""

    family: Family
    processor: Any
    corpora: Mapping[str, Corpus]
    timestamps: float
    previous_text: float
    seed: int

    def __call__(self, example: Example, turn: int, name: str, together: Sequence[int], stretch: float) -> None:
        """Give an example its timestamps and its earlier text, if its turn has come. It was made of the rows `together` of a
        corpus, and its audio is `stretch` times as long as theirs."""
        corpus = self.corpora[name]
        generator = generator_of(self.seed, turn, name, corpus.ids[together[0]], "timestamps and prompts")
        timed, told = generator.random(2) < (self.timestamps, self.previous_text)
        room = int(corpus.room[together[0]])
        if timed:
            with suppress(Unusable):  # more tokens than the decoder has positions for
                labels = self.family.timed_labels(
                    self.processor, self._segments(corpus, together, stretch), corpus.languages[together[0]]
                )
                if len(labels) <= room:
                    example["labels"], example["timed"] = labels, True
        if told:
            text = self._earlier[name].of(together[0], generator, together[1:])
            left = room - len(example["labels"])
            example["earlier"], example["cut"] = self.family.earlier(self.processor, text, left)

    def _segments(self, corpus: Corpus, together: Sequence[int], stretch: float) -> list[tuple[float, float, str]]:
        """(start, end, text) of each row, in seconds: rows are joined without a gap."""
        ends = stretch * np.cumsum(corpus.seconds[list(together)])
        texts = [corpus.rows.targets[row] for row in together]
        return list(zip([0.0, *ends[:-1].tolist()], ends.tolist(), texts, strict=True))

    @cached_property
    def _earlier(self) -> dict[str, Earlier]:
        return {name: Earlier(c.rows, c.languages, c.usable) for name, c in self.corpora.items()}
