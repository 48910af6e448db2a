"""A data set of the Hugging Face hub, or a local folder that `datasets` reads."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from consomme.common.errors import ConsommeError
from consomme.common.settings import Section
from consomme.common.values import Local, Text
from consomme.data.audio import BadAudio, Samples
from consomme.data.sources.base import CACHE, Raw, Source, on_disk
from consomme.data.sources.roles import TIMES, Columns, Reader, absent, columns_of

SAVED = ("state.json", "dataset_dict.json")  # what save_to_disk leaves in a folder


class Settings(Section):
    """A data set that datasets.load_dataset can load: a name on the hub, or a local folder, such as one of Parquet files."""

    name: Local = Field(description="of the data set, or a folder")
    config: Text | None = Field(None, description="of the data set, where it has several")
    split: Text = Field("train", description="of the data set")
    revision: Text | None = Field(None, description="a commit, for a result that can be repeated")
    streaming: bool = Field(
        False,
        description="fetch row by row, for what doesn't fit the disk; `limit` then keeps the first usable rows, and no more "
        "are fetched",
    )
    columns: Columns = Field(default_factory=dict, description="role: the data set's column, as for a manifest")


class Hub(Source):
    """{"name": NAME or folder, "config": null, "split": "train", "columns": {...}, "revision": null, "streaming": false}.

    Audio is left encoded and read by soundfile; a `translation` column of {language: sentence} serves nmt."""

    name = "hub"
    settings = Settings
    indifferent = ("columns", "revision", "streaming")

    def indivisible(self, corpus: Mapping[str, Any], task: str) -> str:
        if not corpus.get("streaming"):
            return ""
        return "with streaming: true each job would fetch all rows to find its own: leave out one of the two"

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
        from datasets.exceptions import DatasetsError

        try:
            with _audio_as_stored():
                yield from _rows(_load(corpus, data_root), corpus, task, languages)
        except (OSError, ValueError, RuntimeError, DatasetsError) as error:
            split = corpus.get("split") or "train"
            raise ConsommeError(
                f"dataset {corpus['name']} (split {split}) can't be loaded: {_why(error, corpus)}"
            ) from error


def _rows(table: Any, corpus: Mapping[str, Any], task: str, languages: Sequence[str]) -> Iterator[Raw]:
    rows = iter(table)
    first = list(itertools.islice(rows, 1))
    there = table.column_names or [column for cells in first for column in cells]
    named = corpus.get("columns") or {}
    # a data set's own `id` may be a sentence's, which several speakers share, and its times those of a longer recording
    # that the clip was cut from: these count only if they are named
    columns = {r: c for r, c in columns_of(corpus, task).items() if r in named or r not in ("id", *TIMES)}
    pairs = task == "nmt" and "translation" in there and columns["source"] not in there
    if not pairs and (wrong := absent(corpus, task, there)):
        raise ConsommeError(f"dataset {corpus['name']}: {wrong}")
    reader = Reader(columns, task, Path(), unit="row", names_recordings=False)
    heavy = {columns.get("audio"), "translation"}
    for number, cells in enumerate(itertools.chain(first, rows)):
        fields = {k: v for k, v in cells.items() if k not in heavy}
        if pairs:
            cells = cells | _sides(cells["translation"], columns, corpus, languages)
        elif task == "asr":
            cells = cells | {columns["audio"]: _fetched(cells.get(columns["audio"]))}
        yield reader(number, cells, fields)


def _sides(
    sentences: Mapping[str, Any], columns: Mapping[str, str], corpus: Mapping[str, Any], languages: Sequence[str]
) -> dict[str, Any]:
    sides = dict(zip(("source", "target"), languages, strict=True))
    for side, language in sides.items():
        if side != corpus.get("missing") and language not in sentences:
            raise ConsommeError(f"dataset {corpus['name']}: no {language} among {', '.join(sentences)}")
    return {columns[side]: sentences.get(language) for side, language in sides.items()}


def _folder(corpus: Mapping[str, Any], data_root: Path) -> Path:
    """Where the data set is, if it is a folder."""
    return on_disk(data_root / corpus["name"])


def _load(corpus: Mapping[str, Any], data_root: Path) -> Any:
    import datasets

    folder = _folder(corpus, data_root)
    split = corpus.get("split") or "train"
    if any((folder / name).is_file() for name in SAVED):
        table = datasets.load_from_disk(str(folder))
        if isinstance(table, datasets.DatasetDict):
            if split not in table:
                raise ValueError(f"there is no such split; there are {', '.join(map(str, table))}")
            table = table[split]
    else:
        table = datasets.load_dataset(
            str(folder) if folder.is_dir() else corpus["name"],
            corpus.get("config"),
            split=split,
            revision=corpus.get("revision"),
            streaming=bool(corpus.get("streaming")),
        )
    for column, feature in (table.features or {}).items():
        if isinstance(feature, datasets.Audio):
            # decoding by `datasets` needs torchcodec, and that needs ffmpeg or CUDA's libraries
            table = table.cast_column(column, datasets.Audio(decode=False))
    return table


@contextlib.contextmanager
def _audio_as_stored() -> Generator[None]:
    """`datasets` asks for torchcodec even where it only notes a file's name. Inside of this, it doesn't."""
    import datasets

    whole = datasets.Audio.encode_example
    datasets.Audio.encode_example = _stored  # ty: ignore[invalid-assignment]
    try:
        yield
    finally:
        datasets.Audio.encode_example = whole


def _stored(feature: Any, value: Any) -> dict[str, Any]:
    """A file's name, encoded bytes or an array as {bytes, path}, which is how `datasets` keeps audio."""
    if isinstance(value, str | Path):
        return {"bytes": None, "path": str(value)}
    if isinstance(value, bytes | bytearray):
        return {"bytes": bytes(value), "path": None}
    if value.get("array") is None:
        return {"bytes": value.get("bytes"), "path": value.get("path")}
    import soundfile

    encoded = io.BytesIO()
    try:
        samples, rate = Samples(value["array"], int(value["sampling_rate"])).waveform()
        soundfile.write(encoded, samples, rate, format="WAV", subtype="FLOAT")
    except BadAudio:
        pass  # a row without audio
    return {"bytes": encoded.getvalue(), "path": value.get("path")}


def _fetched(cell: Any) -> Any:
    """A cell of audio; where it only has an address, with the bytes that are there."""
    if not isinstance(cell, Mapping) or cell.get("bytes") or "://" not in (address := str(cell.get("path"))):
        return cell
    import fsspec

    with fsspec.open(address, "rb") as stream:
        return {"bytes": stream.read(), "path": address}


def _why(error: BaseException, corpus: Mapping[str, Any]) -> str:
    """What an error says, with its first cause, and what to do where a login may be missing."""
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub.errors import RepositoryNotFoundError

    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    words = " ".join(f"{error}{'' if cause is error else f' ({cause})'}".split())
    if not isinstance(error, DatasetNotFoundError | RepositoryNotFoundError):
        return words
    return (
        f"{words} If its name is right, it is private, or one has to agree to its terms: do that at "
        f"https://huggingface.co/datasets/{corpus['name']}, then log in where the jobs run (hf auth login), or set HF_TOKEN there"
    )
