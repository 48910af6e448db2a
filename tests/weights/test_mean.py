"""Means against numpy's own, ends of the line against the models themselves, and models that do not fit."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from consomme.common.errors import ConsommeError
from consomme.weights.mean import write_mean

CONFIG = {"model_type": "some", "architectures": ["SomeModel"], "dtype": "float32"}
VOCABULARY = {"</s>": 0, "<unk>": 1, "a": 2, "b": 3}


def _mean(tmp_path, folders, coefficients=None, name="mean"):
    out = tmp_path / name
    out.mkdir()
    write_mean(out, {str(f): f for f in folders}, coefficients)
    return out


def _read(folder):
    return load_file(folder / "model.safetensors")


def test_mean_is_the_float64_mean_rounded_once(tmp_path, checkpoint, some):
    models = [some(seed) for seed in range(5)]
    out = _mean(tmp_path, [checkpoint(f"m{i}", m) for i, m in enumerate(models)])
    for name, value in _read(out).items():
        assert value.dtype == models[0][name].dtype
        exact = np.stack([m[name].astype(np.float64) for m in models]).sum(axis=0) / 5
        np.testing.assert_array_equal(value, exact.astype(value.dtype))


def test_half_precision_means_are_correctly_rounded(tmp_path, checkpoint):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file as load
    from safetensors.torch import save_file as save

    for dtype in (torch.bfloat16, torch.float16):
        name = str(dtype).split(".")[1]
        folders, models = [], []
        for i in range(8):
            values = torch.randn(4000, generator=torch.Generator().manual_seed(i)).to(dtype)
            folder = checkpoint(f"{name}{i}", {"w": np.zeros(1, np.float32)})
            save({"w": values}, folder / "model.safetensors")
            folders.append(folder)
            models.append(values.double())
        got = load(_mean(tmp_path, folders, name=f"mean {name}") / "model.safetensors")["w"]
        exact = torch.stack(models).sum(0) / 8
        assert got.dtype == dtype
        # no neighbour is nearer than what was written
        error = (got.double() - exact).abs()
        for shift in (-1, 1):
            other = (got.view(torch.int16) + shift).view(dtype).double()
            assert (error <= (other - exact).abs()).all()


def test_tensors_of_many_models_do_not_add_to_memory_use(tmp_path, checkpoint):
    import tracemalloc

    folders = [checkpoint(f"m{i}", {"w": np.full((6000, 1000), i, np.float32)}) for i in range(4)]  # 24 MB each
    tracemalloc.start()
    _mean(tmp_path, folders)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6


def test_ends_of_the_line_are_the_models_bit_for_bit(tmp_path, checkpoint, some):
    one, two = some(1), some(2)
    one["layer.bias"][0], two["layer.bias"][1] = -0.0, -0.0
    folders = [checkpoint("one", one), checkpoint("two", two)]
    for alpha, model in ((0.0, one), (1.0, two)):
        got = _read(_mean(tmp_path, folders, [1 - alpha, alpha], name=f"at {alpha}"))
        for name, value in model.items():
            assert got[name].tobytes() == value.tobytes()
    middle = _read(_mean(tmp_path, folders, [0.75, 0.25], name="between"))["layer.weight"]
    exact = 0.75 * one["layer.weight"].astype(np.float64) + 0.25 * two["layer.weight"].astype(np.float64)
    np.testing.assert_array_equal(middle, exact.astype(np.float32))


def test_mixed_precision_is_stored_in_the_wider_one(tmp_path, checkpoint, some):
    half = checkpoint("half", some(1, np.float16), config={"model_type": "x", "dtype": "float16"})
    full = checkpoint("full", some(2), config={"model_type": "x", "dtype": "float32"})
    out = _mean(tmp_path, [half, full], [0.0, 1.0])
    assert _read(out)["layer.weight"].tobytes() == some(2)["layer.weight"].tobytes()
    assert json.loads((out / "config.json").read_text())["dtype"] == "float32"


def test_the_donors_files_come_along_and_its_history_does_not(tmp_path, checkpoint, some):
    donor = checkpoint("donor", some(1), generation_config={"num_beams": 6}, preprocessor_config={"rate": 8000},
                       provenance={"verb": "train"})  # fmt: skip
    (donor / "source.spm").write_bytes(b"pieces")
    (donor / "progress.jsonl").write_text("{}")
    (donor / "pytorch_model.bin").write_bytes(b"stale")
    (donor / "extra").mkdir()
    (donor / "extra" / "notes.txt").write_text("kept")
    out = _mean(tmp_path, [donor, checkpoint("other", some(2), generation_config={"num_beams": 1})])
    for file in ("config.json", "generation_config.json", "preprocessor_config.json", "vocab.json", "source.spm",
                 "extra/notes.txt"):  # fmt: skip
        assert (out / file).read_bytes() == (donor / file).read_bytes()
    assert not {"provenance.json", "progress.jsonl", "pytorch_model.bin"} & {p.name for p in out.iterdir()}


def test_zeroed_copies_of_head_pruned_models_are_averaged_too(tmp_path, checkpoint, some):
    folders = []
    for seed in (1, 2):
        folder = checkpoint(f"m{seed}", some(seed))
        checkpoint(f"m{seed}/zeroed", {"w": np.full(3, seed, np.float32)})
        folders.append(folder)
    out = _mean(tmp_path, folders)
    np.testing.assert_array_equal(_read(out / "zeroed")["w"], np.full(3, 1.5, np.float32))
    assert (out / "zeroed" / "config.json").exists()


def test_the_same_bytes_under_any_hash_seed(tmp_path, checkpoint, some):
    folders = [checkpoint(f"m{i}", some(i)) for i in range(3)]
    written = []
    for seed in ("0", "1", "77"):
        out = tmp_path / f"out{seed}"
        command = "import sys; from pathlib import Path; from consomme.weights.mean import write_mean as w; "
        command += "out = Path(sys.argv[1]); out.mkdir(); w(out, {p: Path(p) for p in sys.argv[2:]})"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", command, out, *folders], check=True, env=environment)
        written.append({p.name: p.read_bytes() for p in out.iterdir()})
    assert written[0] == written[1] == written[2]


# -- models that do not fit ------------------------------------------------------------------------------------------
def _refused(tmp_path, folders, *words):
    with pytest.raises(ConsommeError) as error:
        _mean(tmp_path, folders)
    for word in (*map(str, folders), *words):
        assert word in str(error.value)


def test_different_shapes(tmp_path, checkpoint, some):
    wrong = {name: np.zeros((2, 2), np.float32) for name in ("layer.bias", "layer.weight")}
    _refused(tmp_path, [checkpoint("a", some(1)), checkpoint("b", some(2) | wrong)], "different shapes in 2 tensors",
             "layer.bias [7] and [2, 2]")  # fmt: skip


def test_different_vocabularies_of_the_same_size(tmp_path, checkpoint, some):
    other = checkpoint("b", some(2), vocabulary={"</s>": 0, "<unk>": 1, "a": 3, "b": 2})
    _refused(tmp_path, [checkpoint("a", some(1)), other], "different vocabularies", "vocab.json", "'a' 2 and 3")


def test_the_same_vocabulary_in_another_order_fits(tmp_path, checkpoint, some):
    other = checkpoint("b", some(2), vocabulary={"b": 3, "a": 2, "<unk>": 1, "</s>": 0})
    _mean(tmp_path, [checkpoint("a", some(1)), other])


def test_different_architectures(tmp_path, checkpoint, some):
    other = checkpoint("b", some(2), config={"model_type": "another", "architectures": ["SomeModel"]})
    _refused(tmp_path, [checkpoint("a", some(1)), other], "different architectures", "some and another")


@pytest.mark.parametrize(
    "key, one, two",
    [
        ("encoder_attention_heads", 4, 8),
        ("scale_embedding", True, False),
        ("activation_function", "relu", "gelu"),
        ("hidden_act", "relu", "gelu"),
        ("layer_norm_eps", 1e-5, 1e-6),
        ("pad_token_id", 0, 1),
    ],
)
def test_what_is_computed_of_the_same_tensors_differs(tmp_path, checkpoint, some, key, one, two):
    a, b = (checkpoint(n, some(1), config={**CONFIG, key: value}) for n, value in (("a", one), ("b", two)))
    _refused(tmp_path, [a, b], "compute different things", f"{key} {one!r} and {two!r}")


def test_settings_of_training_may_differ(tmp_path, checkpoint, some):
    a = checkpoint("a", some(1), config={**CONFIG, "dropout": 0.1, "encoder_layerdrop": 0.0, "use_cache": True})
    b = checkpoint("b", some(2), config={**CONFIG, "dropout": 0.3, "encoder_layerdrop": 0.2, "attention_heads": 4})
    _mean(tmp_path, [a, b])


@pytest.mark.parametrize(
    ("key", "one", "two"),
    [
        ("do_normalize", True, False),
        ("sampling_rate", 16000, 8000),
        ("num_mel_bins", 80, 128),
        ("do_lower_case", True, False),
    ],
)
@pytest.mark.parametrize("names", [("preprocessor_config",) * 2, ("preprocessor_config", "processor_config")])
def test_different_preprocessing(tmp_path, checkpoint, some, key, one, two, names):
    """Also where one model has its extractor's settings in the newer file, as a part of the processor's."""
    files = [
        {
            name: {"feature_extractor": {key: value}}
            if name == "processor_config"
            else {key: value, "processor_class": name}
        }
        for name, value in zip(names, (one, two), strict=True)
    ]
    a, b = (checkpoint(name, some(i), **made) for i, (name, made) in enumerate(zip("ab", files, strict=True)))
    _refused(tmp_path, [a, b], "prepare their input differently", f"{key} {one!r} and {two!r}")


def test_vocabularies_in_different_files(tmp_path, checkpoint, some):
    a, same, other, binary = (checkpoint(n, some(i)) for i, n in enumerate(("a", "same", "other", "binary")))
    for folder, pieces in ((same, VOCABULARY), (other, {**VOCABULARY, "a": 3, "b": 2})):
        (folder / "vocab.json").unlink()
        (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": pieces}}))
    (binary / "vocab.json").unlink()
    (binary / "source.spm").write_bytes(b"pieces")
    _mean(tmp_path, [a, same])
    for folder in (other, binary):
        with pytest.raises(ConsommeError, match=r"can't be compared or differ: vocab\.json"):
            _mean(tmp_path, [a, folder], name=f"of {folder.name}")


def test_a_damaged_config_is_named(tmp_path, checkpoint, some):
    a, b = checkpoint("a", some(1)), checkpoint("b", some(2))
    for text in ("{", "[]"):
        (b / "config.json").write_text(text)
        with pytest.raises(ConsommeError, match=r"b/config\.json is damaged"):
            _mean(tmp_path, [a, b], name=f"of {text}")


@pytest.mark.parametrize("dtype, value", [(np.float16, 60000.0), (np.float32, 3e38)])
def test_what_the_dtype_can_not_hold_is_refused(tmp_path, checkpoint, dtype, value):
    folders = [checkpoint(name, {"w": np.array([0, value], dtype)}) for name in "ab"]
    with pytest.raises(ConsommeError, match="w: the result is larger than F"):
        _mean(tmp_path, folders, [1.0, 1.0])
    assert _read(_mean(tmp_path, folders, [0.5, 0.5], name="half"))["w"][1] == dtype(value)
    largest = np.finfo(dtype).max
    ends = [checkpoint(f"{name} end", {"w": np.array([-largest, largest], dtype)}) for name in "ab"]
    assert _read(_mean(tmp_path, ends, name="ends"))["w"].tolist() == [-largest, largest]


def test_a_sharded_model_becomes_one_file(tmp_path, checkpoint, some):
    whole, parts = checkpoint("whole", some(1)), checkpoint("parts", some(2))
    names = sorted(some(2))
    shards = {f"model-{i}.safetensors": names[i::2] for i in range(2)}
    (parts / "model.safetensors").unlink()
    for file, held in shards.items():
        save_file({n: some(2)[n] for n in held}, parts / file, metadata={"format": "pt"})
    index = {"weight_map": {n: file for file, held in shards.items() for n in held}}
    (parts / "model.safetensors.index.json").write_text(json.dumps(index))
    mean = _mean(tmp_path, [parts, whole])
    expected = (some(1)["layer.weight"].astype(np.float64) + some(2)["layer.weight"]) / 2
    np.testing.assert_array_equal(_read(mean)["layer.weight"], expected.astype(np.float32))
    assert sorted(f.name for f in mean.glob("*.safetensors*")) == ["model.safetensors"]
    index["weight_map"]["lost"] = "model-0.safetensors"
    (parts / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ConsommeError, match="names tensors that no shard holds: lost"):
        _mean(tmp_path, [parts, whole], name="lost")


def test_different_heads_lost(tmp_path, checkpoint, some):
    one, two = ({"model_type": "m", "pruned_heads": {"encoder.self": {"0": [h]}}} for h in (0, 1))
    _refused(tmp_path, [checkpoint("a", some(1), config=one), checkpoint("b", some(2), config=two)], "pruned_heads")


@pytest.fixture
def pruned(tmp_path, checkpoint, some):
    """Two models of equal shapes with the lineages given."""

    def make(one, two):
        for name, found in (("a", one), ("b", two)):
            folder = checkpoint(name, some(ord(name)))
            (folder / "provenance.json").write_text(json.dumps({"lineage": {"weights": "w", "layers": {}, **found}}))
        return [tmp_path / "a", tmp_path / "b"]

    return make


def test_different_layers_of_one_model(tmp_path, pruned):
    folders = pruned({"layers": {"encoder": [1, 3]}}, {"layers": {"encoder": [1, 2]}})
    _refused(tmp_path, folders, "kept different layers of one model (encoder [1, 3] and [1, 2])", "prune both alike")


def test_different_neurons_of_one_model(tmp_path, pruned):
    _refused(tmp_path, pruned({"neurons": "x"}, {"neurons": "y"}), "kept different neurons of one model.")


def test_a_side_that_lost_sublayers_alone_has_all_its_layers(tmp_path, pruned):
    assert _mean(tmp_path, pruned({"layers": {"encoder": [1, 2]}}, {})).is_dir()


@pytest.mark.parametrize("other", [{}, {"layers": {"encoder": [1, 2]}, "weights": "a stranger's"}])
def test_the_same_parts_of_one_model_or_parts_of_strangers(tmp_path, pruned, other):
    parts = {"layers": {"encoder": [1, 3]}, "neurons": "x"}
    assert _mean(tmp_path, pruned(parts, {**parts, **other})).is_dir()


def test_a_missing_tensor(tmp_path, checkpoint, some):
    fewer = some(2)
    del fewer["layer.bias"], fewer["scale"]
    _refused(tmp_path, [checkpoint("a", some(1)), checkpoint("b", fewer)], "lacks 2", "layer.bias, scale")


def test_a_tied_weight_stored_twice_in_one_model_only_is_stored_once(tmp_path, checkpoint, some):
    twice = some(1)
    twice["copy.weight"] = twice["layer.weight"].copy()
    out = _mean(tmp_path, [checkpoint("a", twice), checkpoint("b", some(2))])
    assert set(_read(out)) == set(some(1))
    twice["copy.weight"][0, 0] += 1
    save_file(twice, tmp_path / "a" / "model.safetensors")
    with pytest.raises(ConsommeError, match=r"lacks 1 of the tensors.*copy\.weight"):
        _mean(tmp_path, [tmp_path / "a", tmp_path / "b"], name="again")


def test_different_integers(tmp_path, checkpoint, some):
    other = some(2) | {"steps": np.array([3, 5], np.int64)}
    _refused(tmp_path, [checkpoint("a", some(1)), checkpoint("b", other)], "integer", "steps [3, 4] and [3, 5]")


def test_the_counters_of_batch_norms_are_the_first_ones(tmp_path, checkpoint, some):
    models = [some(i) | {"norm.num_batches_tracked": np.array(10 * i, np.int64)} for i in (1, 2)]
    out = _mean(tmp_path, [checkpoint(name, model) for name, model in zip("ab", models, strict=True)])
    assert _read(out)["norm.num_batches_tracked"] == 10


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("coefficients", [None, [1.0, 0.0]])
def test_not_finite(tmp_path, checkpoint, some, bad, coefficients):
    other = some(2)
    other["layer.weight"][10, 10] = bad
    folders = [checkpoint("a", some(1)), checkpoint("b", other)]
    with pytest.raises(ConsommeError, match=r"NaN or infinity.*b: layer\.weight \(1 of 210000\).*/a"):
        _mean(tmp_path, folders, coefficients)
