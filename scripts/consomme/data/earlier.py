"""What was said before a row: the earlier text of its document, or the text of another row in its place."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from consomme.data.prepared import Rows

CHARACTERS = 4000  # of a document's earlier text, which is more than any decoder takes
TRIES = 8  # draws of another row with another text


class Earlier:
    """The texts before the rows of a corpus or set.

    spoken: the languages of each row; usable: the rows whose text may stand before another; default: all."""

    def __init__(
        self, rows: Rows, spoken: Sequence[tuple[str, ...]], usable: Collection[int] | np.ndarray | None = None
    ) -> None:
        self.texts, self.spoken = rows.targets, list(spoken)
        self.documents, self.speakers = rows.documents, rows.speakers
        self.in_document: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        self.of_speaker: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        self.in_language: dict[tuple[str, ...], list[int]] = {}
        for row in sorted(map(int, range(len(rows)) if usable is None else usable)):
            if not self.texts[row]:
                continue
            languages = self.spoken[row]
            self.in_language.setdefault(languages, []).append(row)
            for name, groups in ((self.documents[row], self.in_document), (self.speakers[row], self.of_speaker)):
                if name is not None:
                    groups.setdefault((name, languages), []).append(row)

    def of(self, row: int, generator: np.random.Generator, beside: Collection[int] = ()) -> str:
        """The text before `row`: what its document says in the rows before it; where there is none, the text of a row of
        the same speaker that the generator draws, else of any row. All of them are in its language and have another text
        than `row` and the rows `beside` it: a model must not learn to repeat what it is told. Empty where there is none."""
        own = {self.texts[i] for i in (row, *beside)}
        languages = self.spoken[row]
        if document := self._document(row, own):
            return document
        for group in (
            self.of_speaker.get((self.speakers[row] or "", languages), []),
            self.in_language.get(languages, []),
        ):
            for drawn in generator.integers(len(group), size=TRIES).tolist() if group else ():
                if self.texts[group[drawn]] not in own:
                    return self.texts[group[drawn]]
        return ""

    def _document(self, row: int, own: Collection[str]) -> str:
        """The earlier text of the row's document, or of that its last `CHARACTERS` in whole rows."""
        group = self.in_document.get((self.documents[row] or "", self.spoken[row]), [])
        found, characters = [], 0
        for i in reversed(group[: bisect_left(group, row)]):
            if self.texts[i] in own:
                continue
            found.append(self.texts[i])
            characters += len(self.texts[i])
            if characters >= CHARACTERS:
                break
        return " ".join(reversed(found))
