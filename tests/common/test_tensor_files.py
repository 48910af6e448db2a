"""A header that is trusted is one that the safetensors package trusts, too, and says the same."""

import errno
import json
import random
import struct

import numpy as np
import pytest
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from consomme.common.errors import ConsommeError
from consomme.common.tensor_files import header, weight_files

TENSORS = {
    "a": np.zeros((2, 3), np.float32),
    "b": np.zeros((0, 4), np.float16),
    "c": np.ones(5, np.int8),
    "d": np.array(1.0),
}


def of_the_package(path):
    """Name -> dtype and shape, as the package reads it; None where it refuses the file."""
    try:
        with safe_open(path, "np") as stored:
            slices = {name: stored.get_slice(name) for name in stored.offset_keys()}
            return {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    except SafetensorError:
        return None


def ours(path):
    try:
        return {name: (slot.dtype, slot.shape) for name, slot in header(path, "mine").items()}
    except ConsommeError as error:
        assert str(error).startswith("mine: m.safetensors is damaged or truncated: ")
        return None


def test_a_sound_file_is_read_as_the_package_reads_it(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file(TENSORS, path, {"format": "pt"})
    assert ours(path) == of_the_package(path) == {n: (ours(path)[n][0], t.shape) for n, t in TENSORS.items()}
    with open(path, "rb") as stream:
        slot = header(path, "mine")["c"]
        stream.seek(slot.begin)
        assert stream.read(slot.end - slot.begin) == bytes([1] * 5)


def mutated(content, draw):
    """The file with one thing wrong, or two, or none: numbers and words of its header, bytes, its length."""
    (length,) = struct.unpack("<Q", content[:8])
    entries, rest = json.loads(content[8 : 8 + length]), content[8 + length :]
    for _ in range(draw.randint(0, 2)):
        entry = entries[draw.choice([name for name in entries if name != "__metadata__"])]
        kind = draw.choice(["shape", "offset", "dtype", "rest", "more", "text"])
        if kind == "shape":
            entry["shape"] = draw.choice(
                [[], [0], [2, 3], [3, 2], [6], [-1], [2**62, 4], [2**70], [1.5], ["2"], [None]]
            )
        elif kind == "offset":
            entry["data_offsets"][draw.randint(0, 1)] += draw.choice([-24, -4, -1, 1, 4, 24, 2**63])
        elif kind == "dtype":
            entry["dtype"] = draw.choice(["F32", "I32", "F16", "U8", "f32", "", "OBJECT"])
        elif kind == "rest":
            rest = rest[: len(rest) - draw.randint(1, 8)]
        elif kind == "more":
            rest += bytes(draw.randint(1, 8))
    text = bytearray(json.dumps(entries).encode())
    for _ in range(draw.choice([0, 0, 0, 1])):
        text[draw.randrange(len(text))] = draw.randrange(256)
    declared = len(text) + draw.choice([0, 0, 0, 0, 1, -1, 2**40])
    return struct.pack("<Q", declared) + bytes(text) + rest


def test_whatever_is_done_to_a_header_what_is_trusted_is_sound(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file(TENSORS, path, {"format": "pt"})
    content, draw, trusted = path.read_bytes(), random.Random(0), 0
    for _ in range(3000):
        path.write_bytes(mutated(content, draw))
        found = ours(path)
        if found is not None:
            assert found == of_the_package(path)
            trusted += 1
    assert 300 < trusted < 2500


def test_a_disk_that_fails_is_said(tmp_path, monkeypatch):
    save_file(TENSORS, tmp_path / "model.safetensors")

    def failing(*given, **more):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("builtins.open", failing)
    with pytest.raises(ConsommeError, match=r"mine: model\.safetensors can't be read: Input/output error\. Check"):
        header(*weight_files(tmp_path, "mine"), "mine")
