"""Weights on disk as a stream: safetensors read and written chunk by chunk, with numpy.

Neither torch nor transformers is imported here: their import would take longer than the averaging itself. numpy lacks only
bfloat16, which ml_dtypes adds. Files are read with `pread` into small buffers, not memory-mapped:
mapped pages count as the process's memory, and a file truncated while mapped kills the process.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from ml_dtypes import bfloat16

from consomme.common.errors import ConsommeError
from consomme.common.tensor_files import INDEX, SINGLE, Slot, header, indexed, unreadable, weight_files

# safetensors' names; bfloat16 values are stored as their bits
DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("u1"),
}
FLOATS = ("F64", "F32", "F16", "BF16")
# the largest magnitude that rounds to a finite value: half a step above the largest of the dtype
LARGEST = {"F16": 65519.99, "BF16": 3.3961775e38, "F32": 3.4028235677973357e38, "F64": float("inf")}
INFINITY = {"F16": 0x7C00, "BF16": 0x7F80}  # its bits, where an element has sixteen

Pieces = Callable[[str], Iterator[np.ndarray]]  # a tensor's name -> its stored elements, in order


class Weights:
    """The tensors of one checkpoint folder (one `model.safetensors`, or shards with their index), read on demand.

    name: the model's name in messages. slots: tensor name -> its position.
    Raises ConsommeError for a folder without safetensors, a pickle (never opened), or a damaged or truncated file."""

    def __init__(self, folder: Path | str, name: str | None = None) -> None:
        self.folder = Path(folder)
        self.name = name or str(folder)
        self._files: dict[Path, int] = {}
        self._opening = Lock()
        self.slots: dict[str, Slot] = {}
        files = weight_files(self.folder, self.name)
        for path in files:
            for tensor, slot in header(path, self.name).items():
                if tensor in self.slots:
                    raise ConsommeError(f"{self.name}: tensor {tensor} is in two shards: {path.name} and another")
                self.slots[tensor] = slot
        lost = set() if files == [self.folder / SINGLE] else indexed(self.folder, self.name).keys() - self.slots.keys()
        if lost:
            raise ConsommeError(
                f"{self.name}: {INDEX} names tensors that no shard holds: {', '.join(sorted(lost)[:3])}"
            )

    def read(self, tensor: str, begin: int = 0, end: int | None = None) -> np.ndarray:
        """Elements begin..end of the flattened tensor, in the stored dtype (bfloat16 as its bits)."""
        slot = self.slots[tensor]
        end = slot.elements if end is None else end
        buffer = np.empty(end - begin, DTYPES[slot.dtype])
        view = buffer.data.cast("B") if len(buffer) else memoryview(b"")
        at, done = slot.begin + begin * buffer.itemsize, 0
        while done < len(view):
            try:
                got = os.preadv(self._file(slot.file), [view[done:]], at + done)
            except OSError as error:
                raise unreadable(slot.file, self.name, error) from error
            if got == 0:
                raise ConsommeError(f"{self.name}: {slot.file.name} ended while {tensor} was read: truncated")
            done += got
        return buffer

    def whole(self, tensor: str) -> np.ndarray:
        """The tensor in its shape, in the stored dtype (bfloat16 as its bits)."""
        return self.read(tensor).reshape(self.slots[tensor].shape)

    def _file(self, path: Path) -> int:
        with self._opening:
            if path not in self._files:
                self._files[path] = os.open(path, os.O_RDONLY)
            return self._files[path]

    def close(self) -> None:
        for handle in self._files.values():
            os.close(handle)
        self._files.clear()

    def __enter__(self) -> Weights:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def spans(begin: int, end: int, length: int) -> Iterator[tuple[int, int]]:
    """begin..end in order, cut into spans (begin, end) of at most `length` elements."""
    return ((at, min(at + length, end)) for at in range(begin, end, length))


def to_float64(values: np.ndarray, dtype: str) -> np.ndarray:
    """Stored elements of a floating dtype as float64, exactly."""
    return plain(values, dtype).astype(np.float64)


def to_float32(values: np.ndarray, dtype: str) -> np.ndarray:
    """Stored elements of a floating dtype as float32 (exact, except for F64)."""
    return plain(values, dtype).astype(np.float32)


def plain(values: np.ndarray, dtype: str) -> np.ndarray:
    """Stored elements of a floating dtype as numbers that numpy quickly converts to float64, exactly."""
    if dtype == "BF16":
        return values.view(bfloat16)
    if dtype == "F16" and finite(values, dtype):
        # numpy converts one element after the other. Here all are shifted to their places in a float32, where exponents
        # mean 112 less; the shift repeats the sign, which is the first bit
        bits = np.left_shift(values.view(np.int16), 13, dtype=np.int32).view(np.uint32)
        bits &= np.uint32(0x8FFFE000)
        single = bits.view(np.float32)
        single *= np.float32(2.0**112)
        return single
    return values


def finite(values: np.ndarray, dtype: str) -> bool:
    """Whether all stored elements of a floating dtype are finite."""
    if dtype in INFINITY:
        return bool((values.view(np.uint16) & 0x7FFF).max(initial=0) < INFINITY[dtype])
    return bool(np.isfinite(values).all())


def from_float64(values: np.ndarray, dtype: str) -> np.ndarray:
    """float64 rounded once, to nearest with ties to even, to a stored dtype (bfloat16 as its bits)."""
    if dtype != "BF16":
        return values.astype(DTYPES[dtype])
    single = values.astype(np.float32)
    found, bits = single.astype(bfloat16).view(np.uint16), single.view(np.uint32)
    # Rounding twice differs from rounding once only where float32 is exactly between two bfloat16 values and the element is
    # beside it. Means of few models are often exactly between two.
    beside = np.flatnonzero((bits << np.uint32(16) == np.uint32(1 << 31)) & (single != values))
    found[beside] = (bits[beside] >> np.uint32(16)) + (np.abs(values[beside]) > np.abs(single[beside]))
    return found


def widest(dtypes: Iterable[str]) -> str:
    """The narrowest floating dtype that holds every value of all the given ones."""
    found = set(dtypes)
    if len(found) == 1:
        return found.pop()
    return "F64" if "F64" in found else "F32"


def write(stream: BinaryIO, layout: Mapping[str, tuple[str, tuple[int, ...]]], pieces: Pieces) -> None:
    """Write a safetensors file in one pass.

    layout: tensor -> (dtype, shape); pieces(tensor) yields its stored elements in order. The header comes first,
    because all offsets are known in advance. Tensors are sorted by falling element size, then by name: this keeps them
    aligned, and the bytes don't depend on the order of `layout`."""
    order = sorted(layout, key=lambda t: (-DTYPES[layout[t][0]].itemsize, t))
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for tensor in order:
        kind, shape = layout[tensor]
        end = at + math.prod(shape) * DTYPES[kind].itemsize
        entries[tensor] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    stream.write(struct.pack("<Q", len(text)) + text)
    for tensor in order:
        for piece in pieces(tensor):
            stream.write(np.ascontiguousarray(piece).data.cast("B") if piece.size else b"")
