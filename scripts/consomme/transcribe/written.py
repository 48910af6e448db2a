"""Transcripts as files: plain text, subtitles, and all that is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from consomme.common.files import write_text


@dataclass(frozen=True)
class Said:
    """A stretch of a transcript, or a word of it. Times in seconds from the recording's start. channel: from 1, where each is by
    itself. words: None where they weren't asked for."""

    start: float
    end: float
    text: str
    channel: int | None = None
    words: Sequence[Said] | None = None

    def later(self, seconds: float) -> Said:
        """The same, so much later, with times to a thousandth."""
        words = None if self.words is None else [word.later(seconds) for word in self.words]
        return replace(self, start=round(self.start + seconds, 3), end=round(self.end + seconds, 3), words=words)


def captions(said: Sequence[Said]) -> list[Said]:
    """What subtitles show: the words where there are some, else the stretches."""
    return [
        one
        for part in said
        for one in ([part] if part.words is None else [replace(word, channel=part.channel) for word in part.words])
    ]


def text(said: Sequence[Said]) -> str:
    """A line a stretch."""
    return "".join(f"{_marked(one)}\n" for one in said)


def srt(said: Sequence[Said]) -> str:
    """SubRip's subtitles."""
    return "".join(
        f"{number}\n{_clock(one.start, ',')} --> {_clock(one.end, ',')}\n{_marked(one)}\n\n"
        for number, one in enumerate(captions(said), 1)
    )


def vtt(said: Sequence[Said]) -> str:
    """WebVTT's subtitles. `-->` and markup mustn't stand in them."""
    shown = captions(said)
    lines = (f"{_clock(one.start, '.')} --> {_clock(one.end, '.')}\n{_escaped(_marked(one))}\n\n" for one in shown)
    return f"WEBVTT\n\n{''.join(lines)}"


def row_of(said: Said) -> dict[str, Any]:
    """As JSON has it."""
    row = {key: value for key, value in asdict(replace(said, words=None)).items() if value is not None}
    return row if said.words is None else {**row, "words": [row_of(word) for word in said.words]}


def said_of(row: Mapping[str, Any]) -> Said:
    """What `row_of` made a row of."""
    words = row.get("words")
    said = Said(**{key: value for key, value in row.items() if key != "words"})
    return said if words is None else replace(said, words=[said_of(word) for word in words])


def as_json(said: Sequence[Said]) -> str:
    """The whole text, and its stretches with their times."""
    whole = {"text": " ".join(one.text for one in said), "segments": [row_of(one) for one in said]}
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


KINDS: dict[str, Callable[[Sequence[Said]], str]] = {"txt": text, "srt": srt, "vtt": vtt, "json": as_json}


def place(out: Path, name: Path, kind: str) -> Path:
    """The file of a transcript: the recording's name and another ending behind it."""
    return out / name.parent / f"{name.name}.{kind}"


def there(out: Path, name: Path, kinds: Sequence[str]) -> bool:
    """Whether a recording has all its files."""
    return all(place(out, name, kind).is_file() for kind in kinds)


def write(out: Path, name: Path, kinds: Sequence[str], said: Sequence[Said]) -> None:
    """Write a recording's files, each whole or not at all."""
    for kind in kinds:
        path = place(out, name, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, KINDS[kind](said))


def _marked(one: Said) -> str:
    """One line of text; a channel's number before it."""
    said = " ".join(one.text.split())
    return said if one.channel is None else f"[{one.channel}] {said}"


def _escaped(said: str) -> str:
    return said.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(seconds: float, mark: str) -> str:
    """01:02:03,456"""
    thousandths = round(max(seconds, 0.0) * 1000)
    whole, rest = divmod(thousandths, 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{mark}{rest:03d}"
