"""Recordings, one after the other: into pieces, the pieces in batches through the model, and together again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from consomme.common.errors import Unusable
from consomme.common.progress import progress
from consomme.transcribe.hear import Hearer
from consomme.transcribe.pauses import pieces
from consomme.transcribe.recordings import Recording, waves
from consomme.transcribe.written import Said, place, row_of, said_of

if TYPE_CHECKING:
    import numpy as np

PART = "part.jsonl"  # the ending of what is there of an unfinished recording


@dataclass
class _Piece:
    """A piece of a recording. said: its stretches, once they are heard."""

    wave: np.ndarray
    start: float
    channel: int | None
    said: list[Said] | None = None


@dataclass
class _Open:
    """A recording whose pieces aren't all heard."""

    recording: Recording
    pieces: list[_Piece] = field(default_factory=list)
    problem: str = ""
    part: Path | None = None


Transcript = tuple[Recording, list[Said], str]


def through(hearer: Hearer, todo: Sequence[Recording], channels: str, out: Path | None) -> Iterator[Transcript]:
    """Each recording, in order, with its stretches or with what is wrong. With `out`, what is heard of long recordings is
    kept beside their transcripts to be, so that an interrupted command goes on there."""
    waiting: list[_Open] = []
    seconds = sum(seconds_of(one.path) for one in todo)
    with progress(seconds / 60, "min of audio") as advance:
        for recording in todo:
            waiting.append(_opened(hearer, recording, channels, out))
            while _unheard(waiting) >= hearer.batch or _lone(hearer, waiting):
                advance(_hear(hearer, waiting) / 60)
            yield from _finished(waiting)
        while _unheard(waiting):
            advance(_hear(hearer, waiting) / 60)
            yield from _finished(waiting)


def _opened(hearer: Hearer, recording: Recording, channels: str, out: Path | None) -> _Open:
    found = _Open(recording)
    try:
        if not recording.path.is_file():
            raise Unusable("no such file")
        heard = waves(recording.path, hearer.rate, channels)
        for number, wave in enumerate(heard, 1):
            spans = pieces(wave, hearer.rate, hearer.most)
            if len(spans) == 1 and spans[0] == (0, len(wave)):
                hearer.check(wave)
            channel = number if len(heard) > 1 else None
            found.pieces += [_Piece(wave[a:b], a / hearer.rate, channel) for a, b in spans]
    except Unusable as error:
        found.problem = str(error)
        return found
    if out is not None and len(found.pieces) > 1:
        found.part = place(out, recording.name, PART)
        _take_up(found)
    return found


def _take_up(found: _Open) -> None:
    """Take what was heard of the recording before, if it was cut alike."""
    if not (found.part and found.part.is_file()):
        return
    kept = {}
    for line in found.part.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError, KeyError, TypeError):  # the last line may be torn
            row = json.loads(line)
            kept[row["piece"], row["start"], row["samples"]] = [said_of(one) for one in row["said"]]
    for number, piece in enumerate(found.pieces):
        piece.said = kept.get((number, piece.start, len(piece.wave)))


def _unheard(waiting: Sequence[_Open]) -> int:
    return sum(piece.said is None for one in waiting for piece in one.pieces)


def _lone(hearer: Hearer, waiting: Sequence[_Open]) -> bool:
    """Whether a piece waits that is heard by itself."""
    return any(p.said is None and len(p.wave) > hearer.alone * hearer.rate for one in waiting for p in one.pieces)


def _hear(hearer: Hearer, waiting: Sequence[_Open]) -> float:
    """Let the model hear the next batch of pieces. Returns the seconds of audio that it was."""
    todo = [(one, n, p) for one in waiting for n, p in enumerate(one.pieces) if p.said is None]
    if len(todo[0][2].wave) > hearer.alone * hearer.rate:
        todo = todo[:1]
    else:
        short = [row for row in todo if len(row[2].wave) <= hearer.alone * hearer.rate]
        todo = short[: hearer.batch]
    answers = hearer.hear([piece.wave for _, _, piece in todo])
    for (one, number, piece), said in zip(todo, answers, strict=True):
        piece.said = [replace(s.later(piece.start), channel=piece.channel) for s in said]
        if one.part:
            one.part.parent.mkdir(parents=True, exist_ok=True)
            row = {"piece": number, "start": piece.start, "samples": len(piece.wave)}
            with open(one.part, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(row | {"said": [row_of(s) for s in piece.said]}, ensure_ascii=False) + "\n")
    return sum(len(piece.wave) for _, _, piece in todo) / hearer.rate


def _finished(waiting: list[_Open]) -> Iterator[Transcript]:
    """The recordings at the front that are done, taken off."""
    while waiting and all(piece.said is not None for piece in waiting[0].pieces):
        one = waiting.pop(0)
        said = [s for piece in one.pieces for s in piece.said or ()]
        yield one.recording, sorted(said, key=lambda s: s.start), one.problem
        if one.part:
            one.part.unlink(missing_ok=True)


def seconds_of(path: Path) -> float:
    """Seconds of audio by the file's header; 0 where it doesn't tell."""
    import soundfile

    with suppress(RuntimeError, OSError):
        return float(soundfile.info(str(path)).duration)
    return 0.0
