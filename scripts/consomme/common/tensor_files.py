"""The files that hold a checkpoint's weights, and the header of each, read and checked before anything trusts it.

A safetensors file is the length of its header (8 bytes), the header (JSON: tensor -> dtype, shape, first and last byte), and
the tensors. Whoever takes such a file from others reads it by `header`: what it returns agrees with itself and with the file.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consomme.common.errors import ConsommeError
from consomme.common.model_files import json_mapping, refuse_links_out

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
# bytes of a number, by safetensors' names
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1}
SIZES |= {"U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1}
LONGEST = 100_000_000  # bytes of a header: the format's own limit
DEEPEST = 64  # dimensions of a tensor: numpy's limit
POINTER = b"version https://git-lfs"  # how a file begins that stands for one that git-lfs did not fetch


@dataclass(frozen=True)
class Slot:
    """The position of a tensor in a file."""

    file: Path
    dtype: str  # safetensors' name
    shape: tuple[int, ...]  # in elements, row-major
    begin: int  # first byte in the file
    end: int  # byte after the last

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def weight_files(folder: Path, name: str) -> list[Path]:
    """The safetensors files of a checkpoint: one, or the shards that its index names, sorted. ConsommeError that begins with
    `name` if there are none, some are missing or lie elsewhere, or there are only pickles, which are never opened."""
    if not folder.is_dir():
        raise ConsommeError(f"{name}: no such folder: {folder}")
    if (folder / SINGLE).is_file():
        found = [folder / SINGLE]
    elif (folder / INDEX).is_file():
        shards = sorted(set(indexed(folder, name).values()))
        if strange := [shard for shard in shards if Path(shard).name != shard or not shard.endswith(".safetensors")]:
            raise ConsommeError(f"{name}: {INDEX} names {strange[0]}, which is no safetensors file in that folder")
        found = [folder / shard for shard in shards]
        if lost := [path.name for path in found if not path.is_file()]:
            raise ConsommeError(f"{name}: {INDEX} names {lost[0]}, which is not there; copy the whole folder")
    elif pickled := sorted(path.name for pattern in PICKLES for path in folder.glob(pattern)):
        raise ConsommeError(
            f"{name}: its weights are in {pickled[0]}, no safetensors: a pickle, which may run code when it is opened and is "
            f"never opened here: {to_convert(pickled[0])}"
        )
    else:
        raise ConsommeError(f"{name}: no weights there: {SINGLE} or {INDEX} is needed")
    refuse_links_out(folder, found, name)
    return found


def indexed(folder: Path, name: str) -> dict[str, str]:
    """Tensor -> its shard, by the index. ConsommeError that begins with `name` if it lists none."""
    found = json_mapping(folder / INDEX).get("weight_map")
    if not isinstance(found, dict) or not found or not all(isinstance(file, str) for file in found.values()):
        raise ConsommeError(f"{name}: {INDEX} is damaged: it has no weight_map of tensors and files")
    return found


def to_convert(name: str) -> str:
    """How a user turns pickled weights into safetensors."""
    return (
        f'convert {name} once, where you trust it: python -c "import transformers as t; c = t.AutoConfig.from_pretrained'
        "('OLD'); getattr(t, c.architectures[0]).from_pretrained('OLD').save_pretrained('NEW')\", then copy the "
        "tokenizer's files to NEW and name NEW instead"
    )


def header(path: Path, name: str) -> dict[str, Slot]:
    """The tensors of one safetensors file. Together they fill the file behind its header, each once.

    ConsommeError that begins with `name` for a file that is damaged, that can't be read, or that git-lfs did not fetch."""
    refuse_pointer(path, name)
    try:
        size = path.stat().st_size
        with open(path, "rb") as stream:
            first = stream.read(8)
            length = struct.unpack("<Q", first)[0] if len(first) == 8 else None
            text = stream.read(length) if length is not None and length <= min(LONGEST, size - 8) else b""
    except OSError as error:
        raise unreadable(path, name, error) from error
    try:
        if length is None:
            raise ValueError(f"{size} bytes, too short for a header")
        if length > min(LONGEST, size - 8):
            raise ValueError(f"its header should take {length} bytes, the file has {size}")
        return _slots(path, text, 8 + length, size)
    except ValueError as error:
        raise ConsommeError(f"{name}: {path.name} is damaged or truncated: {error}. Fetch or write it again") from error


def _slots(path: Path, text: bytes, start: int, size: int) -> dict[str, Slot]:
    """The tensors of a header that ends at byte `start`. ValueError with what is wrong."""
    try:
        entries = json.loads(text.decode(), object_pairs_hook=_once)
    except _Twice:
        raise
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its header is not JSON ({error})") from None
    if not isinstance(entries, dict):
        raise ValueError("its header is not a mapping")
    about = entries.pop("__metadata__", {})
    if not isinstance(about, dict) or not all(isinstance(value, str) for value in about.values()):
        raise ValueError("its __metadata__ is no mapping of texts")
    slots = {tensor: _slot(path, tensor, entry, start) for tensor, entry in entries.items()}
    at = start
    for tensor, slot in sorted(slots.items(), key=lambda item: (item[1].begin, item[1].end)):
        if slot.begin != at:
            what = "lies over another tensor" if slot.begin < at else "leaves a hole before it"
            raise ValueError(f"{tensor} begins at byte {slot.begin} and {what}; it should begin at {at}")
        at = slot.end
    if at != size:
        raise ValueError(f"its tensors should end at byte {at}, the file has {size}")
    return slots


def _slot(path: Path, tensor: str, entry: Any, start: int) -> Slot:
    try:
        kind, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{tensor} lacks dtype, shape or data_offsets") from None
    numbers = (*shape, begin, end)
    if len(shape) > DEEPEST or not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
        raise ValueError(f"{tensor} has shape {list(shape[:DEEPEST])} and data_offsets {[begin, end]}")
    if not isinstance(kind, str) or kind not in SIZES:
        raise ValueError(f"{tensor} has dtype {kind}; allowed: {', '.join(SIZES)}")
    if end - begin != math.prod(shape) * SIZES[kind]:
        raise ValueError(f"{tensor} has {end - begin} bytes for shape {list(shape)} of {kind}")
    return Slot(path, kind, shape, start + begin, start + end)


class _Twice(ValueError):
    """A key of a header that is there twice: readers differ in which one counts."""


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(f"its header names {key} twice")
        found[key] = value
    return found


def refuse_pointer(path: Path, name: str) -> None:
    """ConsommeError that begins with `name` if a file can't be read, or is only git-lfs's pointer to it."""
    try:
        with open(path, "rb") as stream:
            first = stream.read(len(POINTER))
    except OSError as error:
        raise unreadable(path, name, error) from error
    if first == POINTER:
        raise ConsommeError(
            f"{name}: {path.name} is a pointer of git-lfs and not the file itself: run `git lfs install` and "
            f"`git lfs pull` in that repository, or `hf download NAME --local-dir FOLDER`"
        )


def unreadable(path: Path, name: str, error: OSError) -> ConsommeError:
    """The error for a file that the system can't or may not read."""
    return ConsommeError(
        f"{name}: {path.name} can't be read: {error.strerror}. Check its permissions and the disk, or copy it again"
    )
