"""The landscape: known answers with a loss that looks at one weight, then the whole stage on development data."""

import itertools
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from consomme.common.errors import ConsommeError
from consomme.common.files import write_json
from consomme.common.job import parse
from consomme.data.prepared import Rows, Writer
from consomme.evaluate.evaluator import Evaluator
from consomme.families import family_named, load
from consomme.landscape import stage
from consomme.weights.candidates import Candidates
from consomme.weights.mean import write_mean

DIAL = "model.encoder.layers.0.fc1.bias"  # its first element is what the known loss looks at
NUMBERS = ["one", "two", "three", "four"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    settings = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    family_named("marian").create(folder, settings, {"vocab_size": 40}, lambda: iter(NUMBERS * 8), ["en", "fr"], seed=1)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory, base):
    """name -> a copy of the base with that dial, its other weights a little different."""
    found = {}
    for i, (name, dial) in enumerate({"a": 0.5, "b": 3.0, "c": 1.25, "d": -1.0}.items()):
        found[name] = tmp_path_factory.mktemp("models") / name
        shutil.copytree(base, found[name])
        random = np.random.default_rng(i)
        weights = {n: t + random.normal(size=t.shape).astype(t.dtype) * 0.2 for n, t in load_file(base / "model.safetensors").items()}  # fmt: skip
        weights[DIAL][0] = dial
        save_file(weights, found[name] / "model.safetensors", metadata={"format": "pt"})
    return found


@pytest.fixture
def quadratic():
    """A loss with its least at a dial of 1; `seen` lists the dials that it was asked about."""
    seen = []

    def loss(model):
        seen.append(float(model.state_dict()[DIAL][0]))
        return (seen[-1] - 1) ** 2

    return SimpleNamespace(loss=loss, seen=seen)


@pytest.fixture
def job(tmp_path, models):
    """job(rows=5) -> the arguments of a job on that many development rows."""

    def arguments(rows=5, names=tuple(models), out="f00d", sets=("d",)):
        folders = {}
        for name in sets:
            folders[name] = tmp_path / f"{name}-{rows}"
            if not folders[name].exists():
                folders[name].mkdir()
                with Writer(folders[name] / "rows.arrow", "nmt") as writer:
                    for i, words in zip(range(rows), itertools.product(NUMBERS, repeat=5), strict=False):
                        row = {"id": f"r{i}", "speaker": None, "document": None, "recordings": []}
                        writer.add({**row, "source": " ".join(words), "target": words[0]})
                write_json(folders[name] / "prepared.json", {"task": "nmt", "name": name, "rows": writer.rows,
                                                             "version": 1, "fingerprint": writer.fingerprint()})  # fmt: skip
        choice = {"metric": "loss", "sets": {name: {"weight": 1.0} for name in sets}}
        spec = {
            "stage": "landscape", "version": 1, "digest": out, "label": {}, "task": "nmt", "languages": ["en", "fr"],
            "dev": {name: [name] for name in sets}, "settings": {"choose_on": choice},
            "inputs": [*(f"parent/{n}" for n in names), *(f"corpus/{n}" for n in sets)],
        }  # fmt: skip
        inputs = [str(p) for p in (*(models[n] for n in names), *folders.values())]
        return parse(["--spec", json.dumps(spec), "--inputs", *inputs, "--out", str(tmp_path / f"made/{out}.json"),
                      "--state", str(tmp_path / "state"), "--cache", str(tmp_path / "cache"), "--threads", "1",
                      "--device", "cpu"], "")  # fmt: skip

    return arguments


@pytest.fixture
def candidates(models):
    with Candidates(models, "cpu") as found:
        yield found


def test_lines_of_a_known_loss(candidates, quadratic):
    losses = stage.of_each(candidates, quadratic.loss)
    assert losses == pytest.approx({"a": 0.25, "b": 4.0, "c": 0.0625, "d": 4.0})
    found = stage.lines(candidates, losses, "c", quadratic.loss)
    assert set(found) == {"a", "b", "d"}
    # from a dial of 1.25 to 0.5: past the least loss, which lies a third of the way
    assert found["a"] == pytest.approx([0.0625, 0.0625**2, 0.125**2, 0.3125**2, 0.25])
    assert found["b"] == pytest.approx([0.0625, 0.6875**2, 1.125**2, 1.5625**2, 4.0])


def test_means_of_a_known_loss(candidates, quadratic, capsys):
    losses = stage.of_each(candidates, quadratic.loss)
    quadratic.seen.clear()
    found = stage.means(candidates, losses, quadratic.loss)
    dials = {"a": 0.5, "b": 3.0, "c": 1.25, "d": -1.0}
    assert found["ranked"]["order"] == ["c", "a", "b", "d"]  # of equals the first given
    assert len(found["orders"]) == stage.ORDERS
    for row in (found["ranked"], *found["orders"]):
        assert sorted(row["order"]) == list("abcd")
        wanted = [(np.mean([dials[n] for n in row["order"][:k]]) - 1) ** 2 for k in (1, 2, 3, 4)]
        assert row["losses"] == pytest.approx(wanted)
    # single models are known, and no set of models is asked about twice
    sets = {frozenset(row["order"][:k]) for row in (found["ranked"], *found["orders"]) for k in (2, 3, 4)}
    assert len(quadratic.seen) == len(sets)
    assert "ranked, mean of 2, with a: loss" in capsys.readouterr().err


def test_mixes_are_renewed_and_the_models_themselves_are_not(models, quadratic):
    """Batch norms' statistics: here, what is renewed gets a dial of 9."""

    def renew(model):
        model.state_dict()[DIAL][0] = 9
        return model

    with Candidates(models, "cpu", renew) as renewing:
        losses = stage.of_each(renewing, quadratic.loss)
        assert 64 not in losses.values()
        assert stage.lines(renewing, losses, "c", quadratic.loss)["a"] == [losses["c"], 64, 64, 64, losses["a"]]
        made = stage.means(renewing, losses, quadratic.loss)
    assert all(row["losses"] == [losses[row["order"][0]], 64, 64, 64] for row in (made["ranked"], *made["orders"]))


def test_orders_are_all_different_and_always_the_same():
    names = [f"m{i}" for i in range(6)]
    orders = stage.random_orders(names)
    assert orders == stage.random_orders(names) and len({tuple(o) for o in orders}) == stage.ORDERS
    assert len(stage.random_orders(["a", "b"])) == 2 and stage.random_orders(["a"]) == [["a"]]


def test_a_landscape_on_development_data(job, models, tmp_path, capsys):
    stage.run(job())
    made = json.loads((tmp_path / "made/f00d.json").read_text())
    said = capsys.readouterr().err
    assert said.count("at 0.") == 3 * 3 and "line 1 of 3" in said
    # the evaluator's own answers, asked here about the models as they lie on the disk
    rows = Rows.open({"d": tmp_path / "d-5"})
    asked = Evaluator.open(job(), {"d": rows}, models["a"])
    wanted = {name: asked.value(load(path), "d", "loss") for name, path in models.items()}
    assert made["losses"] == wanted and made["best"] == min(wanted, key=wanted.get)
    other, line = next(iter(made["lines"].items()))
    assert line[0] == wanted[made["best"]] and line[-1] == wanted[other]
    # the middle is the mean that the averaging stage writes
    (tmp_path / "mean").mkdir()
    write_mean(tmp_path / "mean", {n: models[n] for n in (made["best"], other)})
    assert line[2] == asked.value(load(tmp_path / "mean"), "d", "loss")
    (tmp_path / "all").mkdir()
    write_mean(tmp_path / "all", models)
    whole = asked.value(load(tmp_path / "all"), "d", "loss")
    assert all(row["losses"][-1] == pytest.approx(whole, abs=1e-6) for row in (made["ranked"], *made["orders"]))
    assert made["ranked"]["losses"][1] == made["lines"][made["ranked"]["order"][1]][2]
    assert made["sets"] == {"d": {"weight": 1.0, "rows": 5, "of": 5}} and made["left_out"] == {}


def test_killed_it_goes_on(job, tmp_path, capsys, monkeypatch):
    evaluations, number = Evaluator._nll, iter(range(100))

    def killed(*given):
        if next(number) == 9:
            raise KeyboardInterrupt
        return evaluations(*given)

    monkeypatch.setattr(Evaluator, "_nll", killed)
    with pytest.raises(KeyboardInterrupt):
        stage.run(job())
    assert not (tmp_path / "made").exists() and "utterances" in capsys.readouterr().err
    monkeypatch.setattr(Evaluator, "_nll", evaluations)
    stage.run(job())
    fresh = capsys.readouterr().err.count("utterances")
    made = (tmp_path / "made/f00d.json").read_bytes()
    orders = json.loads(made)
    sets = {frozenset(r["order"][:k]) for r in (orders["ranked"], *orders["orders"]) for k in (1, 2, 3, 4)}
    middles = {frozenset((orders["best"], name)) for name in orders["lines"]}
    singles = {frozenset([name]) for name in orders["ingredients"]}
    # every single model, mean and point of a line once, less the nine that were there
    assert fresh == len(sets | middles | singles) + 3 * 2 - 9
    # its output gone, it finds what it made; its state gone too, it asks no model again
    (tmp_path / "made/f00d.json").unlink()
    stage.run(job())
    assert "nothing to compute" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "state")
    stage.run(job())
    assert "utterances" not in capsys.readouterr().err
    assert (tmp_path / "made/f00d.json").read_bytes() == made


def test_no_more_rows_than_stated(job, tmp_path):
    stage.run(job(rows=150, names=("a", "b", "c"), sets=("d", "e")))
    made = json.loads((tmp_path / "made/f00d.json").read_text())
    assert made["sets"] == {name: {"weight": 1.0, "rows": 16, "of": 150} for name in ("d", "e")}
    rows = Rows.open({"d": tmp_path / "d-150"})
    few = stage.some(rows, 64)
    assert set(few.ids) <= set(stage.some(rows, 100).ids) and few.ids == stage.some(rows, 64).ids


def test_runs_that_diverged_are_left_out(job, models, tmp_path):
    record = models["c"] / "provenance.json"
    record.write_text(json.dumps({"diverged": {"step": 7}}))
    try:
        stage.run(job())
        made = json.loads((tmp_path / "made/f00d.json").read_text())
        assert made["ingredients"] == ["a", "b", "d"] and made["left_out"] == {"c": "diverged at step 7"}
        with pytest.raises(ConsommeError, match="nothing is left"):
            stage.run(job(names=("c",), out="beef"))
        stage.run(job(names=("a", "c"), out="cafe"))
        alone = json.loads((tmp_path / "made/cafe.json").read_text())
        assert alone["lines"] == {} and alone["ranked"] == {"order": ["a"], "losses": [alone["losses"]["a"]]}
    finally:
        record.unlink()
