"""The files of a model's folder: those of the checkpoint, and those of its history."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError
from consomme.common.files import write_json

ZEROED = "zeroed"  # the folder, in that of a head-pruned model, with its copy in the stock shape
KEPT = "checkpoints"  # the folder of the checkpoints that a training kept for averaging
ADAPTER = "adapter"  # the folder of the adapters that a training kept beside the merged weights, in peft's format
SOURCE = "source"  # the folder, in that of an export for another engine, with the files of the model it was made of
HISTORY = ("provenance.json", "content.json", "progress.jsonl", "curve.tsv", "search.tsv", "tidied.json")
BESIDE = {ZEROED, KEPT, ADAPTER, SOURCE, "tensorboard"}
# the files of a checkpoint beside its weights; a folder may hold others, such as code, which no model takes along
KINDS = ("*.json", "*.spm", "*.txt", "*.model", "*.jinja", "vocab.bpe", "bpe.codes")
CODE = {"auto_map", "custom_pipelines", "custom_generate"}  # keys that name code for transformers to run
LARGEST = 1 << 28  # bytes of a JSON file: far more than any tokenizer's
REPEATED = re.compile(r"(layers|blocks|experts)$")  # keys of config.json that say how often a part is built
MOST = 4096  # such parts; ten million take hours to build, whatever their size


def config(folder: Path) -> dict[str, Any]:
    """The content of a model's config.json. ConsommeError if there is none, no JSON mapping in it, or an absurd depth."""
    path = folder / "config.json"
    if not path.is_file():
        raise ConsommeError(f"{folder}: no config.json: not a model folder")
    found = json_mapping(path)
    for key, value in _numbers(found):
        if REPEATED.search(key) and value > MOST:
            raise ConsommeError(
                f"{path}: {key} is {value}; at most {MOST} are allowed. Copy the file from where it was published"
            )
    return found


def _numbers(found: Any) -> Iterator[tuple[str, int]]:
    """The whole numbers of a JSON value, with the keys that they are under."""
    waiting = [("", found)]  # no recursion, which a value of others' could make too deep
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += ((key, inner) for inner in value)
        elif type(value) is int:
            yield key, value


def json_mapping(path: Path) -> dict[str, Any]:
    """The content of one of a checkpoint's JSON files. ConsommeError if it can't be read, or is no JSON mapping in UTF-8."""
    try:
        if path.stat().st_size > LARGEST:
            raise ConsommeError(f"{path} is damaged: {path.stat().st_size} bytes, where {LARGEST} are allowed")
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConsommeError(f"{path} can't be read: {error.strerror}. Check its permissions and the disk") from error
    except (ValueError, RecursionError) as error:
        raise ConsommeError(f"{path} is damaged: not JSON ({error})") from None
    if not isinstance(found, dict):
        raise ConsommeError(f"{path} is damaged: it must hold a mapping")
    return found


def inherited(folder: Path) -> list[Path]:
    """The files that a model made from this one inherits, relative to its folder, sorted: config, processor or tokenizer.

    Excluded: weights and their indices, code, hidden files, records of its training and its choice, and models in folders
    inside it. ConsommeError if one is a link out of the folder."""

    def walk(place: Path) -> Iterator[Path]:
        for path in place.iterdir():
            inside = path.relative_to(folder)
            if path.name.startswith(".") or inside.parts[0] in BESIDE or path.name in HISTORY:
                continue
            if path.is_dir() and not path.is_symlink():
                yield from walk(path)
            elif path.is_file() and is_kept(path):
                yield inside

    found = sorted(walk(folder))
    refuse_links_out(folder, [folder / path for path in found], str(folder))
    return found


def is_kept(path: Path) -> bool:
    """Whether a file of a checkpoint belongs to it beside its weights, by its name."""
    return any(path.match(kind) for kind in KINDS) and not path.name.endswith(".index.json")


def copy_inherited(donor: Path, folder: Path) -> None:
    """Copy the inherited files of `donor` to `folder`."""
    for path in inherited(donor):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(donor / path, folder / path)


def refuse_links_out(folder: Path, paths: Iterable[Path], name: str) -> None:
    """ConsommeError that begins with `name` if one of the files of a checkpoint is a link to a file outside of its folder,
    which may be a secret of whoever uses it. In the hub's cache the files of REPOSITORY/snapshots/COMMIT are links to
    REPOSITORY/blobs, and these may be links to blobs/, which all repositories share."""
    home = folder.resolve()
    allowed = [home]
    if home.parent.name == "snapshots" and (repository := home.parent.parent).name.startswith("models--"):
        allowed += [repository / "blobs", repository.parent / "blobs"]
    for path in paths:
        if not any(path.resolve().is_relative_to(place) for place in allowed):
            raise ConsommeError(
                f"{name}: {path.name} is a link out of the folder, to {path.resolve()}. If that is meant, name a copy that has "
                "the files themselves: cp -rL OLD NEW"
            )


def forget_code(folder: Path) -> None:
    """Remove from the configs of a model, its processor and its generation, in place, what names code to run: nothing made
    here needs any, and who loads the model with trust_remote_code would run it."""
    for path in folder.rglob("*config.json"):
        found = json_mapping(path)
        try:
            if (kept := _without_code(found)) != found:
                write_json(path, kept)
        except RecursionError:
            raise ConsommeError(f"{path} is damaged: its values are nested too deeply") from None


def _without_code(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _without_code(value) for key, value in found.items() if key not in CODE}
    return [_without_code(value) for value in found] if isinstance(found, list) else found
