"""A dataset of the Hugging Face hub, or a local folder of parquet files, through `datasets`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from consomme.common.errors import ConsommeError, nearest
from consomme.common.settings import Section
from consomme.common.values import Text
from consomme.data.sources.base import CACHE, Raw, Source, on_disk, text_of
from consomme.data.sources.manifest import columns_of, needed_of


class Settings(Section):
    """A data set that datasets.load_dataset can load: a name on the hub, or a local folder of Parquet files."""

    name: Text = Field(description="of the data set, or a folder")
    config: Text | None = Field(None, description="of the data set, where it has several")
    split: Text = Field("train", description="of the data set")
    revision: Text | None = Field(None, description="a commit, for a result that can be repeated")
    columns: dict[Text, Text] = Field(default_factory=dict, description="our name: the data set's column")


class Hub(Source):
    """{"name": NAME or folder, "config": null, "split": "train", "columns": {...}, "revision": null}.

    Audio is left encoded and read by soundfile; a `translation` column of {language: sentence} serves nmt."""

    name = "hub"
    settings = Settings

    def content(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path, cache: Path = CACHE) -> Any:
        return super().content(corpus, languages, data_root, cache) or [corpus["name"], corpus.get("revision")]

    def recordings(self, corpus: Mapping[str, Any], data_root: Path) -> tuple[Path, Iterable[str]]:
        root = _folder(corpus, data_root)
        return root, (str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    def check(self, corpus: Mapping[str, Any], languages: Sequence[str], data_root: Path) -> list[str]:
        name = str(corpus["name"])
        if name.startswith((".", "/")) and not _folder(corpus, data_root).is_dir():
            return [f"no folder {data_root / name}"]
        return []

    def read(self, corpus: Mapping[str, Any], task: str, languages: Sequence[str], data_root: Path) -> Iterator[Raw]:
        table = _load(corpus, data_root)
        columns = columns_of(corpus, task)
        named_id = (corpus.get("columns") or {}).get("id")
        pairs = task == "nmt" and "translation" in table.column_names and columns["source"] not in table.column_names
        if not pairs:
            _check_columns(corpus, columns, task, table.column_names)
        heavy = {columns.get("audio"), "translation"}
        for number, cells in enumerate(table):
            cell = {role: cells.get(column) for role, column in columns.items()}
            fields = {k: v for k, v in cells.items() if k not in heavy}
            # a data set's own `id` may be a sentence's, which several speakers share, so it counts only when it is named
            named = text_of(cells.get(named_id)) if named_id else None
            row = Raw(named or f"{number:07d}", fields=fields, document=text_of(cell.get("document")))
            if pairs:
                sides = ("source", "target")
                needed = [x for x, side in zip(languages, sides, strict=True) if side != corpus.get("missing")]
                absent = [x for x in needed if x not in cells["translation"]]
                if absent:
                    raise ConsommeError(
                        f"dataset {corpus['name']}: no {absent[0]} among {', '.join(cells['translation'])}"
                    )
                row.source, row.target = (cells["translation"].get(x) for x in languages)
            elif task == "nmt":
                row.source, row.target = cell["source"], cell["target"]
            else:
                row.target, row.speaker = text_of(cell["text"]), text_of(cell.get("speaker"))
                row.audio = _audio(cell["audio"])
                row.recordings = (str(cell["recording"]),) if text_of(cell.get("recording")) else ()
            yield row


def _folder(corpus: Mapping[str, Any], data_root: Path) -> Path:
    """Where the data set is, if it is a folder."""
    return on_disk(data_root / corpus["name"])


def _load(corpus: Mapping[str, Any], data_root: Path) -> Any:
    import datasets

    folder = _folder(corpus, data_root)
    name = str(folder) if folder.is_dir() else corpus["name"]
    split = corpus.get("split") or "train"
    try:
        table = datasets.load_dataset(name, corpus.get("config"), split=split, revision=corpus.get("revision"))
    except (OSError, ValueError, RuntimeError) as error:
        raise ConsommeError(f"dataset {name} (split {split}) can't be loaded: {error}") from error
    for column, feature in table.features.items():
        if isinstance(feature, datasets.Audio):
            # decoding by `datasets` needs torchcodec, and that needs ffmpeg or CUDA's libraries
            table = table.cast_column(column, datasets.Audio(decode=False))
    return table


def _check_columns(corpus: Mapping[str, Any], columns: Mapping[str, str], task: str, there: Sequence[str]) -> None:
    for role in needed_of(corpus, task):
        if columns[role] not in there:
            raise ConsommeError(
                f"dataset {corpus['name']}: no column '{columns[role]}' for {role}{nearest(columns[role], there)}; there "
                f"are {', '.join(there)}. Say which it is with columns: {{{role}: NAME}}"
            )


def _audio(cell: Any) -> Path | bytes | None:
    if isinstance(cell, dict):
        return cell.get("bytes") or (Path(cell["path"]) if cell.get("path") else None)
    return Path(cell) if isinstance(cell, str) else cell
