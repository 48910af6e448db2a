"""What the columns of a table are for: their roles, and a row of cells as a raw row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from consomme.common.addresses import Secret
from consomme.common.errors import ConsommeError, nearest
from consomme.common.settings import shown
from consomme.common.values import Text
from consomme.data.audio import Recording, Samples
from consomme.data.sources.base import LANGUAGES, Audible, NotText, Numbered, Raw, text_of, under
from consomme.data.text import nfc

TIMES = ("start", "end", "duration")
LATEST = 1e9  # seconds, 31 years: what is larger is no time
ROLES = {
    "asr": ("audio", "text", "speaker", "document", "recording", *TIMES, "id"),
    "nmt": ("source", "target", "document", "id"),
}
NEEDED = {"asr": ("audio", "text"), "nmt": ("source", "target")}


def _known(columns: dict[str, str]) -> dict[str, str]:
    every = (*ROLES.values(), *LANGUAGES.values())
    allowed = list(dict.fromkeys(role for roles in every for role in roles))
    for role in columns:
        if role not in allowed:
            raise ValueError(f"'{role}' is no role of a column{nearest(role, allowed)}; allowed: {', '.join(allowed)}")
    return columns


# role -> column
Columns = Annotated[dict[Text, Text], AfterValidator(_known)]


def columns_of(corpus: Mapping[str, Any], task: str) -> dict[str, str]:
    """Role -> column for `task`, with the corpus's own names laid over the defaults. A role named "" has no column, and a
    language has one only if it is named."""
    named = named_of(corpus)
    usual = dict(zip(ROLES[task], ROLES[task], strict=True)) | dict.fromkeys(LANGUAGES[task], "")
    return {role: column for role in usual if (column := named.get(role, usual[role]))}


def named_of(corpus: Mapping[str, Any]) -> dict[str, str]:
    """Role -> column, as the corpus's `columns` has it, in NFC."""
    return {role: nfc(column) for role, column in (corpus.get("columns") or {}).items()}


def needed_of(corpus: Mapping[str, Any], task: str) -> tuple[str, ...]:
    """The roles that must have a column: all but the side that the corpus says is missing."""
    missing = corpus.get("missing")
    return tuple(role for role in NEEDED[task] if role != ("text" if task == "asr" and missing else missing))


def absent(corpus: Mapping[str, Any], task: str, there: Sequence[str]) -> str:
    """What to say of the first column that `columns` names, or that the task needs, and that isn't there; else an empty
    string."""
    named = named_of(corpus)
    for role in (*needed_of(corpus, task), *named):
        column = named.get(role, role)
        if column not in there and (column or role in needed_of(corpus, task)):
            return (
                f"no column '{column}' for {role}{nearest(column, there)}; there are {', '.join(there)}. Say which it is "
                f"with columns: {{{role}: NAME}}"
            )
    return ""


@dataclass
class Reader:
    """Makes raw rows of the cells of one table."""

    columns: Mapping[str, str]
    task: str
    # what relative paths of audio start from
    root: Path
    # the word for a row's number
    unit: str = "line"
    # whether a row without an id is called as its recording is
    names_recordings: bool = True

    def __post_init__(self) -> None:
        self.numbered = Numbered()

    def __call__(self, number: int, cells: Mapping[str, Any], fields: Mapping[str, Any] | None = None) -> Raw:
        """The raw row of these cells; its `problem` says what can't be read. fields: for `where`, if not all cells."""
        row = Raw("", fields=cells if fields is None else fields)
        try:
            self._fill(row, cells)
        except NotText as error:
            row.problem = ("not text", f"{self.unit} {number}: {error}")
        except NoSegment as error:
            row.problem = (error.reason, f"{self.unit} {number}: {error}")
        except Secret as error:
            raise ConsommeError(f"{self.unit} {number}: {error}") from None
        row.id = self.numbered(row.id or f"{number:07d}")
        return row

    def _fill(self, row: Raw, cells: Mapping[str, Any]) -> None:
        cell = {role: cells.get(column) for role, column in self.columns.items()}
        row.id = self._text(cell, "id") or ""
        row.document = self._text(cell, "document")
        row.languages = {role: cell.get(role) for role in LANGUAGES[self.task] if role in self.columns}
        if self.task == "nmt":
            row.source, row.target = self._text(cell, "source"), self._text(cell, "target")
            return
        row.speaker, recording = self._text(cell, "speaker"), self._text(cell, "recording")
        row.recordings = (recording,) if recording else ()
        heard = cell.get("audio")
        row.audio = audio_of(heard, self.root)
        name = str(heard.get("path") or "") if isinstance(heard, Mapping) else heard if isinstance(heard, str) else ""
        row.start, row.end = segment_of(cell.get("start"), cell.get("end"), cell.get("duration"))
        if row.start is not None:
            row.recordings = row.recordings or ((name,) if name else ())
            name += f"@{_spelt(row.start)}-{_spelt(row.end)}"
        row.id = row.id or (name if self.names_recordings else "")
        row.target = self._text(cell, "text")

    def _text(self, cell: Mapping[str, Any], role: str) -> str | None:
        value = cell.get(role)
        if role not in NEEDED[self.task] and _empty(value):
            return None
        try:
            return text_of(value)
        except NotText as error:
            raise NotText(f"{self.columns[role]} is {error}") from None


# -- audio ---------------------------------------------------------------------------------------------------------
def audio_of(cell: Any, root: Path) -> Path | bytes | Recording | Audible | None:
    """What a cell names or holds: a path, encoded bytes, {path, bytes}, or {array, sampling_rate}; or a part of a file, which
    no table has, but a source puts there. Raises NotText."""
    if cell is None or cell == "":
        return None
    if isinstance(cell, str):
        return under(root, cell)
    if isinstance(cell, bytes | Recording):
        return cell
    if isinstance(cell, Mapping):
        if cell.get("array") is not None and (rate := cell.get("sampling_rate")):
            try:
                return Samples(cell["array"], int(rate))
            except (TypeError, ValueError, OverflowError):
                raise NotText(f"the sampling_rate of audio is {shown(rate)}, and not a number of Hz") from None
        if isinstance(held := cell.get("bytes"), bytes) and held:
            return held
        if isinstance(path := cell.get("path"), str) and path:
            return under(root, path)
    raise NotText(f"audio is {shown(cell)}; a path is wanted, {{path: ...}}, or {{array: ..., sampling_rate: ...}}")


# -- segments ------------------------------------------------------------------------------------------------------
class NoSegment(Exception):
    """Times that cut nothing out of a recording."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def segment_of(start: Any, end: Any, duration: Any) -> tuple[float | None, float | None]:
    """Start and end in seconds of what is cut out of a recording; None, None for the whole. A duration alone cuts
    nothing. Raises NoSegment."""
    first, last, length = _seconds("start", start), _seconds("end", end), _seconds("duration", duration)
    if first is None and last is None:
        return None, None
    first = first or 0.0
    if last is None and length is not None:
        last = first + length
    if first < 0:
        raise NoSegment("not a time", f"start is {first:g} s")
    if last is not None and last <= first:
        raise NoSegment("end before start", f"from {_spelt(first)} s to {_spelt(last)} s")
    return first, last


def _seconds(name: str, value: Any) -> float | None:
    if value is None or value == "" or _empty(value):
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= LATEST:
        raise NoSegment("not a time", f"{name} is {shown(value)}, and not a number of seconds")
    return number


def _empty(value: Any) -> bool:
    """Whether it is an empty cell as pandas keeps it."""
    return isinstance(value, float) and math.isnan(value)


def _spelt(seconds: float | None) -> str:
    """Seconds to the millisecond, without zeros at the end; nothing for None."""
    return "" if seconds is None else f"{seconds:.3f}".rstrip("0").rstrip(".")
