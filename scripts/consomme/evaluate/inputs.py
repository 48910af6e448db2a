"""A set as the models of one family take it: features, languages, labels, earlier texts, and the rows that can't be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from consomme.common.errors import ConsommeError, Unusable
from consomme.common.log import say
from consomme.data.earlier import Earlier
from consomme.data.limit import rank
from consomme.evaluate.left_out import in_words
from consomme.families.base import BEYOND_WINDOW
from consomme.families.codes import unknown_languages
from consomme.families.positions import most_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from consomme.data.arrays import Arrays
    from consomme.data.prepared import Rows
    from consomme.families.base import Family

# Without max_new_tokens: so much longer than the longest reference of the set may a hypothesis be, and so many tokens more
HEADROOM, MORE = 1.5, 16
NO_LABELS = "no labels"


class Inputs:
    """The inputs that a family makes of the rows of a set; each is made when it is first asked for.

    given: the languages of rows that name none. cache, processor_key: as of `Evaluator`."""

    def __init__(
        self,
        name: str,
        rows: Rows,
        family: Family,
        processor: Any,
        given: Sequence[str],
        cache: Path,
        processor_key: str,
    ) -> None:
        self.name, self.rows, self.family, self.processor = name, rows, family, processor
        self.given, self.cache, self.processor_key = given, cache, processor_key
        self._told: set[str] = set()

    @cached_property
    def features(self) -> Arrays:
        """What the encoder reads of each row."""
        from consomme.data.features import features_of

        return features_of(self.family, self.processor, self.rows, self.cache, self.processor_key, self.given)

    @cached_property
    def languages(self) -> list[tuple[str, ...]]:
        """The languages of each row."""
        return self.rows.languages(self.given)

    @cached_property
    def long(self) -> list[bool]:
        """Whether the audio of each row is longer than the model's window."""
        if not self.family.windows:
            return [False] * len(self.rows)
        return [self.family.long(self.processor, int(length)) for length in self.features.lengths]

    @property
    def labels(self) -> list[list[int]]:
        """The labels of each row; empty for those in `unwritten`."""
        return self._labelled[0]

    @property
    def unwritten(self) -> dict[int, str]:
        """The rows without labels that a loss could be measured by, and why."""
        return self._labelled[1]

    @cached_property
    def _labelled(self) -> tuple[list[list[int]], dict[int, str]]:
        unknown_languages(self.family, self.processor, self.languages)  # raises if the languages are wrong
        labels, problems = [], dict[int, str]()
        for i, text in enumerate(self.rows.targets):
            try:
                labels.append(list(self.family.labels(self.processor, text, self.languages[i])))
            except Unusable as error:
                labels.append([])
                problems[i] = error.reason
            if not labels[-1] and self.family.objective == "seq2seq":
                problems.setdefault(i, NO_LABELS)
            if self.long[i]:
                problems[i] = BEYOND_WINDOW
        return labels, problems

    @cached_property
    def earlier(self) -> list[list[int]]:
        """The tokens of the earlier text of each row, which is drawn by a hash of the row's id."""
        earlier, room = Earlier(self.rows, self.languages), most_tokens(self.processor, "target")
        texts = [earlier.of(i, np.random.default_rng(rank(name))) for i, name in enumerate(self.rows.ids)]
        return [self.family.earlier(self.processor, text, room)[0] for text in texts]

    @property
    def longest(self) -> int | None:
        """The most tokens of a hypothesis, by the set's longest reference in the model's tokens. None, which is as many as
        the model has positions for, if a reference has more than these, or the set has none."""
        longest = max((len(ids) for text, ids in zip(self.rows.targets, self.labels, strict=True) if text), default=0)
        return int(HEADROOM * longest) + MORE if longest and not self.unwritten else None

    # -- rows that can't be used ---------------------------------------------------------------------------------------
    def unheard(self, model: PreTrainedModel) -> dict[int, str]:
        """The rows that the model can't take, and why, in the order of the rows; the log names them once."""
        found = self.family.unheard(model, self.features.lengths)
        if strange := unknown_languages(self.family, self.processor, self.languages):
            found |= {i: strange[own] for i, own in enumerate(self.languages) if own in strange}
        found |= {i: reason for i, (reason, _) in self.features.problems.items()}
        return self._tell("count as empty hypotheses and not in the loss", found)

    def unmeasured(self, model: PreTrainedModel) -> dict[int, str]:
        """The rows that have no part in the loss, and why: those that the model can't take, and those whose target is too
        long for the decoder."""
        unwritten = self._tell("not counted in the loss", self.unwritten)
        return self.unheard(model) | unwritten

    def usable(self) -> list[int]:
        """The rows whose features and labels the family can make. ConsommeError if there is none."""
        left_out = self.unwritten.keys() | self.features.problems.keys()
        found = [i for i in range(len(self.rows)) if i not in left_out]
        if not found:
            raise ConsommeError(f"{self.name}: the model can use none of its rows, so nothing can be measured there")
        return found

    def _tell(self, what: str, found: Mapping[int, str]) -> dict[int, str]:
        """Log the rows, in the same words only once. Returns them in order."""
        if found and what not in self._told:
            self._told.add(what)
            ids = self.rows.ids
            say(f"{self.name}: {what}: {in_words({ids[i]: found[i] for i in sorted(found)})}")
        return {i: found[i] for i in sorted(found)}
