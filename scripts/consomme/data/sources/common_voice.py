"""Common Voice as it is distributed: an unpacked tarball's language folder with clips/*.mp3 and a TSV a split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from consomme.common.errors import ConsommeError
from consomme.common.settings import Section
from consomme.common.values import Place
from consomme.data import remote
from consomme.data.sources.base import Numbered, Raw, Source, kept, place_of, text_of, where_of
from consomme.data.sources.cells import AUDIO
from consomme.data.sources.tables import header_of, like_data, records

NEEDED = ("client_id", "path", "sentence")


class Settings(Section):
    """The unpacked folder of one language of Common Voice: clips/ and its tables."""

    path: Place = Field(description="the folder, or its address")
    split: Literal["train", "dev", "test", "validated", "other"] = Field("train", description="which of its tables")


class CommonVoice(Source):
    """{"path": FOLDER, "split": "train" | "dev" | "test" | "validated"}; `where` sees every column of the TSV."""

    name = "common_voice"
    settings = Settings
    in_place = True
    indifferent = ("split",)  # its table says it
    tasks = ("asr",)

    def files(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path) -> list[Path]:
        table = f"{corpus['split']}.tsv"
        return [place_of(corpus, data_root, f"/{table}") / table]

    def recordings(self, corpus: Mapping[str, Any], data_root: Path) -> tuple[Path, Iterable[str]]:
        (table,) = self.files(corpus, [], data_root)
        where = where_of(corpus)
        rows = (cells for _, cells in records(table) if isinstance(cells, dict))
        return table.parent, (
            f"clips/{_clip(cells['path'])}" for cells in rows if cells.get("path") and kept(cells, where)
        )

    def check(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path) -> list[str]:
        root = self.files(corpus, languages, data_root)[0].parent
        problems = super().check(corpus, languages, data_root)
        if root.is_dir() and not (root / f"{corpus['split']}.tsv").is_file():
            there = ", ".join(sorted(p.stem for p in root.glob("*.tsv"))) or "none"
            problems = [f"{problems[0]}; splits there: {there}"]
        problems = problems or _header_problems(root / f"{corpus['split']}.tsv")
        # a store has no folders: clips that it lacks are noticed one by one
        return problems + ([] if remote.viewed(root) or (root / "clips").is_dir() else [f"no folder {root / 'clips'}"])

    def read(self, corpus: Mapping[str, Any], task: str, languages: Sequence[str], data_root: Path) -> Iterator[Raw]:
        (table,) = self.files(corpus, languages, data_root)
        problems = self.check(corpus, languages, data_root)
        if problems:
            raise ConsommeError("; ".join(problems))
        numbered = Numbered()
        for number, cells in records(table):
            if isinstance(cells, tuple):
                yield Raw(f"{number:07d}", problem=cells)
                continue
            clip = table.parent / "clips" / _clip(cells["path"])
            row = Raw(
                numbered(clip.stem),
                audio=clip,
                target=cells["sentence"],
                speaker=text_of(cells["client_id"]),
                fields=cells,
            )
            row.recordings = (clip.stem,)
            yield row


def _clip(name: str) -> str:
    """The file of a clip: tables of early releases give its name without the suffix."""
    return name if name.lower().endswith(AUDIO) else f"{name}.mp3"


def _header_problems(table: Path) -> list[str]:
    try:
        there = header_of(table)
    except ConsommeError as error:
        return [str(error)]
    if there is None or not (absent := [column for column in NEEDED if column not in there]):
        return []
    return [f"{table}: no column {', '.join(absent)}; there are {', '.join(there)}{like_data(there, table)}"]
