"""Reading and writing against the safetensors package, rounding against torch and against exact fractions."""

import json
from fractions import Fraction

import numpy as np
import pytest
from safetensors.numpy import load_file

from consomme.common.errors import ConsommeError
from consomme.weights import tensors
from consomme.weights.tensors import Weights


def test_written_files_are_what_the_safetensors_package_reads(tmp_path, some):
    values = some(1)
    kinds = {"float32": "F32", "int64": "I64"}
    layout = {t: (kinds[str(v.dtype)], v.shape) for t, v in values.items()}
    with open(tmp_path / "m.safetensors", "wb") as stream:
        tensors.write(stream, layout, lambda t: iter([values[t].ravel()]))
    read = load_file(tmp_path / "m.safetensors")
    assert read.keys() == values.keys()
    for name, value in values.items():
        assert read[name].dtype == value.dtype and read[name].shape == value.shape
        np.testing.assert_array_equal(read[name], value)


def test_reads_single_files_pieces_and_shards(checkpoint, some, tmp_path):
    from safetensors.numpy import save_file

    values = some(1)
    folder = checkpoint("one", values)
    with Weights(folder) as weights:
        for name, value in values.items():
            np.testing.assert_array_equal(weights.whole(name), value)
        np.testing.assert_array_equal(weights.read("layer.weight", 5, 11), values["layer.weight"].ravel()[5:11])
    sharded = tmp_path / "sharded"
    sharded.mkdir()
    parts = {"model-1.safetensors": ["layer.weight"], "model-2.safetensors": ["layer.bias", "scale"]}
    for file, names in parts.items():
        save_file({n: values[n] for n in names}, sharded / file)
    index = {"weight_map": {n: f for f, names in parts.items() for n in names}}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index))
    with Weights(sharded) as weights:
        assert set(weights.slots) == {"layer.weight", "layer.bias", "scale"}
        np.testing.assert_array_equal(weights.whole("layer.bias"), values["layer.bias"])


def _bfloat16(bits):
    return (np.uint32(bits) << np.uint32(16)).view(np.float32)


def test_bfloat16_is_rounded_once_to_nearest_even():
    random = np.random.default_rng(0)
    values = np.concatenate([
        random.normal(size=2000) * 10.0 ** random.integers(-44, 38, size=2000),
        # just beside a tie: by way of float32 these would be taken for the tie itself and go the wrong way
        [1 + 2**-8 + 2**-40, 1 + 2**-8 - 2**-40, 1 + 3 * 2**-8 - 2**-40, -(1 + 2**-8 + 2**-40), 1 + 2**-8, 1 + 3 * 2**-8],
        [0.0, -0.0, 1e-60, -1e-60, 2.0**-133, 3 * 2.0**-134, 1.0, -2.5],
    ])  # fmt: skip
    bits = tensors.from_float64(values, "BF16")
    for value, got in zip(values, bits, strict=True):
        around = [_bfloat16(b) for b in range(max(int(got & 0x7FFF) - 1, 0), int(got & 0x7FFF) + 2)]
        errors = [abs(Fraction(float(abs(value))) - Fraction(float(a))) for a in around if np.isfinite(a)]
        mine = abs(Fraction(float(value)) - Fraction(float(_bfloat16(got))))
        assert mine == min(errors), value
        if sum(e == mine for e in errors) == 2:  # a tie goes to the even one
            assert got & 1 == 0, value
    assert np.signbit(_bfloat16(tensors.from_float64(np.array([-0.0]), "BF16")[0]))


def test_bfloat16_of_float32_agrees_with_torch():
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(1).normal(size=5000).astype(np.float32)
    theirs = torch.from_numpy(values).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(tensors.from_float64(values.astype(np.float64), "BF16"), theirs)
    exact = tensors.to_float64(theirs, "BF16")
    np.testing.assert_array_equal(tensors.from_float64(exact, "BF16"), theirs)


def test_a_truncated_file_is_named(checkpoint, some):
    folder = checkpoint("cut", some(1))
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ConsommeError, match=r"the cut one: model\.safetensors is damaged or truncated"):
        Weights(folder, "the cut one")
    file.write_bytes(b"ab")
    with pytest.raises(ConsommeError, match="too short"):
        Weights(folder)
    file.write_bytes((10).to_bytes(8, "little") + b"not json!!")
    with pytest.raises(ConsommeError, match="not JSON"):
        Weights(folder)


def test_a_pickle_is_refused_and_not_opened(tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(ConsommeError, match="a pickle, which may run code"):
        Weights(folder)
    with pytest.raises(ConsommeError, match="no such folder"):
        Weights(tmp_path / "nowhere")
