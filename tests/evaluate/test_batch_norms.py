"""Batch norms' running statistics after averaging: from training data, and not the means of the models' own."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file

from consomme.average.stage import by_hand, run
from consomme.common.files import hash_file, read_json
from consomme.common.job import parse
from consomme.evaluate.batch_norms import Statistics
from consomme.families import family_named, load
from consomme.weights.candidates import Candidates

ROWS = 12  # one batch
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 32, "subsampling_conv_channels": 8}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """A prepared corpus of noise, written by hand."""
    folder, random = tmp_path_factory.mktemp("prepared") / "speech", np.random.default_rng(0)
    waves = [(3000 * random.standard_normal(8000 + 400 * i)).astype(np.int16) for i in range(ROWS)]
    table = pa.table(
        {
            "id": pa.array([str(i) for i in range(ROWS)]),
            "speaker": pa.array([None] * ROWS, pa.string()),
            "document": pa.array([None] * ROWS, pa.string()),
            "recordings": pa.array([[] for _ in range(ROWS)], pa.list_(pa.string())),
            "seconds": pa.array([len(w) / 16000 for w in waves]),
            "audio": pa.array(waves, pa.large_list(pa.int16())),
            "text": pa.array(["a"] * ROWS),
        }
    )
    folder.mkdir()
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    prepared = {"task": "asr", "name": "speech", "fingerprint": "f00d", "rows": ROWS, "seconds": 9.0, "version": 1}
    (folder / "prepared.json").write_text(json.dumps({**prepared, "sampling_rate": 16000, "read": ROWS, "skipped": {}}))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two Fast Conformers whose batch norms have seen something."""
    found = {}
    for seed, name in enumerate("ab"):
        found[name] = tmp_path_factory.mktemp(name)
        family_named("parakeet").create(found[name], SMALL, {"vocab_size": 24}, lambda: iter(["abba"]), ["en"], seed)
        weights = load_file(found[name] / "model.safetensors")
        for tensor in weights:
            if tensor.endswith("running_mean"):
                weights[tensor] += seed + 1.0
            if tensor.endswith("num_batches_tracked"):
                weights[tensor] += 7 + seed
        save_file(weights, found[name] / "model.safetensors", {"format": "pt"})
    return found


@pytest.fixture
def job(tmp_path, models, speech):
    """job(**settings): an average of the two models, with the corpus that they were trained on."""

    def make(name="out", data=True, **settings):
        inputs = {f"parent/{n}": path for n, path in models.items()} | ({"statistics/speech": speech} if data else {})
        spec = {
            "stage": "average",
            "version": 1,
            "digest": "abcdef012345",
            "task": "asr",
            "settings": {"choose_on": None, **settings},
            "inputs": list(inputs),
        } | ({"statistics": {"speech": 1.0}} if data else {})
        return parse(
            [
                *("--spec", json.dumps(spec), "--inputs", *map(str, inputs.values())),
                *("--out", str(tmp_path / name), "--threads", "1", "--device", "cpu"),
            ],
            "",
        )

    return make


def made(job):
    run(job)
    return load_file(job.out / "model.safetensors")


def running(weights):
    return {n: t for n, t in weights.items() if n.endswith((".running_mean", ".running_var"))}


def test_a_soups_statistics_are_those_of_the_training_data_in_its_own_layers(job, models, speech):
    soup = made(job(method="uniform"))
    a, b = (load_file(path / "model.safetensors") for path in models.values())
    assert len(running(soup)) == 4
    for name in soup.keys() - running(soup).keys():
        expected = a[name] if name.endswith("num_batches_tracked") else ((a[name].double() + b[name]) / 2).float()
        assert torch.equal(soup[name], expected), name

    # by hand: what goes into each norm, when those below it work with the batch's own statistics
    from consomme.data.prepared import Rows

    model, family = load(job(method="uniform").out), family_named("parakeet")
    processor, rows = family.processor(models["a"]), Rows.open({"speech": speech})
    batch = family.collate(processor, [family.features(processor, rows.source(i)) for i in range(ROWS)], None)
    seen = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.register_forward_pre_hook(lambda _, given, name=name: seen.update({name: given[0].detach()}))
            module.train()
    with torch.no_grad():
        model(**batch)
    assert len(seen) == 2
    for name, given in seen.items():
        torch.testing.assert_close(soup[f"{name}.running_mean"], given.mean((0, 2)), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(soup[f"{name}.running_var"], given.var((0, 2)), rtol=1e-4, atol=1e-6)
    record = read_json(job(method="uniform").out / "provenance.json")
    assert record["statistics"] == {"examples": ROWS, "corpora": ["speech"]}


@pytest.mark.parametrize("name", ["parakeet_rnnt", "parakeet_tdt"])
def test_the_norms_below_a_decoder_are_renewed(job, folders, name):
    one = load(folders(name))
    again = Statistics(job(method="uniform"), folders(name)).renew(load(folders(name)))
    changed = [n for n, t in again.state_dict().items() if not torch.equal(t, one.state_dict()[n])]
    assert changed and all(n.endswith((".running_mean", ".running_var")) for n in changed)


def test_what_is_tried_in_memory_is_what_is_written(job, models):
    given = job(method="interpolate", alpha=0.25)
    written = made(given)
    renew = Statistics(given, models["a"]).renew
    with Candidates(models, "cpu", renew) as candidates:
        model = candidates.line(*models)(0.25)
        assert not model.training and not any(m.training for m in model.modules())
        tried = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert all(torch.equal(written[n], tried[n]) for n in running(written))


def test_the_ends_of_a_line_keep_their_own_statistics(job, models):
    for alpha, name in ((0.0, "a"), (1.0, "b")):
        end, parent = made(job(name, method="interpolate", alpha=alpha)), load_file(models[name] / "model.safetensors")
        assert all(torch.equal(end[n], parent[n]) for n in running(parent))
        with Candidates(models, "cpu", lambda model: pytest.fail("renewed")) as candidates:
            state = candidates.line(*models)(alpha).state_dict()
            assert all(torch.equal(state[n], parent[n]) for n in running(parent))


def test_without_training_data_the_statistics_are_means(job, models, tmp_path):
    without = made(job(method="uniform", data=False))
    by_hand(["--method", "uniform", "--out", str(tmp_path / "hand"), *map(str, models.values())])
    assert hash_file(tmp_path / "hand" / "model.safetensors") == hash_file(tmp_path / "out" / "model.safetensors")
    a, b = (load_file(path / "model.safetensors") for path in models.values())
    assert all(torch.equal(without[n], (a[n] + b[n]) / 2) for n in running(a))


def test_models_without_batch_norms_read_no_training_data(tmp_path, models, speech, job):
    from consomme.evaluate.batch_norms import needed

    plain = tmp_path / "plain"
    shutil.copytree(models["a"], plain)
    weights = load_file(plain / "model.safetensors")
    save_file({n: t for n, t in weights.items() if "running" not in n}, plain / "model.safetensors")
    assert not needed(job(), plain) and needed(job(), models["a"]) and not needed(job(data=False), models["a"])
