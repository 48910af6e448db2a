"""The record of an export format. This module imports nothing heavy: the plan reads the records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consomme.common.settings import Section

if TYPE_CHECKING:
    from consomme.data.prepared import Rows
    from consomme.families.base import Family


@dataclass(frozen=True)
class Ask:
    """Examples for a model, decoded greedily with at most `max_new_tokens` tokens. languages: of rows that name none."""

    family: Family
    rows: Rows
    languages: Sequence[str]
    max_new_tokens: int
    threads: int = 1

    def in_row_order(self, answer: Callable[[Sequence[int], Sequence[str]], list[str]], size: int) -> list[str]:
        """`answer(which, languages)` of all rows, in batches of at most `size` rows that are all in these languages."""
        spoken, said = self.rows.languages(self.languages), dict[int, str]()
        for languages in dict.fromkeys(spoken):
            some = [i for i, own in enumerate(spoken) if own == languages]
            for start in range(0, len(some), size):
                which = some[start : start + size]
                said |= zip(which, answer(which, languages), strict=True)
        return [said[i] for i in range(len(spoken))]


@dataclass(frozen=True)
class Format:
    """An export format."""

    name: str  # the word in configurations
    # (model, folder, settings, about, work): fills the empty folder from a checkpoint; settings: of the node; about:
    # facts for the model card; work: folder for temporary files
    write: Callable[[Path, Path, Mapping[str, Any], dict[str, Any], Path], None]
    # (folder, examples) -> outputs of the written model, in the order of the rows
    say: Callable[[Path, Ask], list[str]]
    settings: type[Section] = Section  # its own keys in a node
    tasks: Sequence[str] = ()  # asr, nmt: all families of these can be written, and those with the format in `exports`
    # whether these settings keep floating-point weights: nearly equal outputs are then expected
    exact: Callable[[Mapping[str, Any]], bool] = lambda settings: True

    def fits(self, family: Family) -> bool:
        """Whether a model of the family can be written."""
        return self.name in family.exports or family.task in self.tasks
