"""Export formats: how a model is written for an engine, and how that engine runs it. A new format is one small package or
file and one line here, or an entry point of another package in the group `consomme.exports` that loads to a `Format`.

A folder with an `engine.json` is an export for the engine of the format that it names. Its own files are the engine's; the
folder `source` inside has all files but the weights of the model that it was made of: config, tokenizer, processor. Importing
this imports no engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from consomme.common.extras import require
from consomme.common.files import read_json, write_json
from consomme.common.model_files import HISTORY, SOURCE
from consomme.common.table import Table
from consomme.formats import ctranslate2, ggml, onnx
from consomme.formats.base import Asked, Format, Running
from consomme.formats.safetensors import SAFETENSORS

__all__ = [
    "TABLE",
    "Asked",
    "Format",
    "Running",
    "engines",
    "exported_as",
    "format_named",
    "start",
    "weights_of",
    "write",
]

FILE = "engine.json"

TABLE: Table[Format] = Table(
    "export format", "consomme.exports", SAFETENSORS, ctranslate2.FORMAT, onnx.FORMAT, ggml.FORMAT
)
format_named = TABLE.named


def engines() -> list[str]:
    """The formats that another engine than transformers runs."""
    return [name for name, form in TABLE.items() if form.load]


def exported_as(folder: Path) -> Format | None:
    """The format that the model in a folder has for another engine; None of a checkpoint, which transformers loads."""
    file = folder / FILE
    return format_named(read_json(file)["format"]) if file.is_file() else None


def weights_of(folder: Path) -> list[Path]:
    """The files that hold the weights of an export: those that the model it was made of doesn't have."""
    others = {path.name for path in (folder / SOURCE).iterdir()} | {FILE, "README.md", *HISTORY}
    found = (path for path in folder.rglob("*") if path.is_file() and SOURCE not in path.relative_to(folder).parts)
    return sorted(path for path in found if path.name not in others)


def write(form: Format, model: Path, folder: Path, settings: Mapping[str, Any], work: Path) -> None:
    """Fill the empty `folder` with a checkpoint in a format. work: folder for temporary files."""
    form.write(model, folder, settings, work)
    if form.load:
        write_json(folder / FILE, {"format": form.name})


def start(folder: Path, languages: Sequence[str] = (), threads: int = 1, device: str = "cpu") -> Running:
    """The export in `folder`, loaded by its engine. ConsommeError if that isn't installed."""
    form = exported_as(folder)
    if form is None or form.load is None:
        raise ValueError(f"{folder} is no export for another engine")
    if form.extra:
        require(form.extra, f"{folder}: the engine of {form.name}")
    return form.load(folder, languages, threads, device)
