"""A data directory of Kaldi: wav.scp, text, and perhaps segments and utt2spk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from consomme.common.errors import ConsommeError
from consomme.common.settings import Section
from consomme.common.values import Place
from consomme.data.sources.base import Raw, Source, by_of, place_of, under
from consomme.data.sources.lines import lines
from consomme.data.sources.roles import NoSegment, segment_of

TO_THE_END = "-1"  # as a segment's end


class Settings(Section):
    """A data directory of Kaldi."""

    path: Place = Field(
        description="the folder that holds wav.scp and text; relative paths in wav.scp start at data_root"
    )


class Kaldi(Source):
    """{"path": FOLDER}: an utterance is a line of `segments`, or where that isn't there a line of wav.scp, whose entries
    have to be files. Fields for `where`: recording, speaker. What results are reported by may also stand in files of an
    utterance or a speaker a line: utt2NAME or spk2NAME, such as spk2gender.

    The format is described in Kaldi's documentation, "Data preparation"."""

    name = "kaldi"
    settings = Settings
    in_place = True
    tasks = ("asr",)

    def files(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path) -> list[Path]:
        needed = ["wav.scp", *([] if corpus.get("missing") else ["text"])]
        maps = [f"{of}2{name}" for name in by_of(corpus) for of in ("utt", "spk")]
        perhaps = ["segments", "utt2spk", *maps]
        folder = place_of(corpus, data_root, *(f"/{name}" for name in (*needed, *perhaps)))
        there = [path for name in perhaps if (path := folder / name).is_file()]
        return [*(folder / name for name in needed), *there]

    def recordings(self, corpus: Mapping[str, Any], data_root: Path) -> tuple[Path, Iterable[str]]:
        listed = place_of(corpus, data_root, "/wav.scp") / "wav.scp"
        places = _entries(listed).values() if listed.is_file() else ()
        return data_root, (place for _, place in places if place and not place.endswith("|"))

    def read(self, corpus: Mapping[str, Any], task: str, languages: Sequence[str], data_root: Path) -> Iterator[Raw]:
        if problems := self.check(corpus, languages, data_root):
            raise ConsommeError("; ".join(problems))
        there = {path.name: _entries(path) for path in self.files(corpus, languages, data_root)}
        texts, speakers = there.get("text", {}), there.get("utt2spk", {})
        utterances = there.get("segments", there["wav.scp"])
        for name, (number, entry) in utterances.items():
            row = Raw(name, target=texts.get(name, (0, None))[1], speaker=speakers.get(name, (0, None))[1] or None)
            recording = name
            if "segments" in there:
                recording = _cut(row, number, entry)
            row.recordings = (recording,)
            told = {
                column: there[file].get(key, (0, None))[1]
                for column in by_of(corpus)
                for key, file in ((row.speaker or "", f"spk2{column}"), (name, f"utt2{column}"))
                if file in there
            }
            row.fields = {"recording": recording, "speaker": row.speaker} | told
            row.problem = row.problem or _find(row, recording, there["wav.scp"], data_root)
            yield row
        for name, (number, _) in texts.items():
            if name not in utterances:
                where = "segments" if "segments" in there else "wav.scp"
                yield Raw(name, problem=("missing", f"text, line {number}: {name} is not in {where}"))


def _entries(path: Path) -> dict[str, tuple[int, str]]:
    """The first word of each line: the line's number, from 1, and what stands behind the word."""
    found: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines(path), 1):
        # undecodable bytes become lone surrogates, so that only the rows that hold them are lost
        name, _, rest = line.decode("utf-8", "surrogateescape").strip().replace("\t", " ", 1).partition(" ")
        if not name:
            continue
        if name in found:
            raise ConsommeError(f"{path}: line {number} has '{name}' a second time; the first is line {found[name][0]}")
        found[name] = number, rest.strip()
    return found


def _cut(row: Raw, number: int, entry: str) -> str:
    """Set the times of a line of `segments`, RECORDING START END, and return the recording's name."""
    cells = entry.split()
    if len(cells) != 3:
        row.problem = (
            "columns",
            f"segments, line {number} has {len(cells) + 1}; utterance, recording, start, end wanted",
        )
        return cells[0] if cells else ""
    recording, start, end = cells
    try:
        row.start, row.end = segment_of(start, None if end == TO_THE_END else end, None)
    except NoSegment as error:
        row.problem = (error.reason, f"segments, line {number}: {error}")
    return recording


def _find(row: Raw, recording: str, places: Mapping[str, tuple[int, str]], data_root: Path) -> tuple[str, str] | None:
    """Set the file of a row, or return why there is none."""
    number, place = places.get(recording, (0, ""))
    if not place:
        return "missing", f"no entry for {recording} in wav.scp"
    if place.endswith("|"):
        return "command", f"wav.scp, line {number} is a command, and not a file"
    row.audio = under(data_root, place)
    return None
