"""Checkpoints kept for averaging: which, and what the means are means of."""

import json

import pytest
import torch
from safetensors.torch import load_file

from consomme.families import load
from consomme.train.stage import run

EVERYTHING = {"every": 3, "last": 2, "best": None, "ema": 0.8, "mean": True}


@pytest.fixture
def watched(monkeypatch):
    """The weights after every step."""
    from consomme.train.kept import Kept

    plain, seen = Kept.on_step_end, []

    def watch(self, args, state, control, **more):
        seen.append({n: p.detach().double().clone() for n, p in self.trainer.model.named_parameters()})
        return plain(self, args, state, control, **more)

    monkeypatch.setattr(Kept, "on_step_end", watch)
    return seen


def index(out):
    return json.loads((out / "checkpoints" / "checkpoints.json").read_text())


def test_last_ema_and_running_mean_by_definition(tmp_path, translator, pairs, job, watched):
    made = job(tmp_path, translator, {"pairs": pairs}, max_steps=10, checkpoints=EVERYTHING)
    run(made)
    place, found = made.out / "checkpoints", index(made.out)
    assert [e["step"] for e in found["last"]] == [9, 10] and [e["step"] for e in found["mean"]] == [3, 6, 9, 10]
    first = {n: p.detach().double() for n, p in load(translator).named_parameters()}
    name = "model.encoder.layers.0.fc1.weight"
    assert torch.equal(load_file(place / "step-9.safetensors")[name].double(), watched[8][name])
    ema = first[name]
    for weights in watched:
        ema = 0.8 * ema + 0.2 * weights[name]
    torch.testing.assert_close(load_file(place / "ema.safetensors")[name].double(), ema, rtol=1e-6, atol=1e-8)
    mean = sum(w[name] for w in watched[:6]) / 6
    torch.testing.assert_close(load_file(place / "mean-6.safetensors")[name].double(), mean, rtol=1e-6, atol=1e-8)
    # each file is the weights of a plain checkpoint
    assert set(load_file(place / "ema.safetensors")) == set(load_file(made.out / "model.safetensors"))


def test_the_best_are_those_of_the_development_set(tmp_path, translator, pairs, job, monkeypatch):
    values = iter([0.1, 0.5, 0.3, 0.4, 0.2])
    monkeypatch.setattr("consomme.evaluate.choice.objective", lambda *_: next(values))
    kept = {"every": 2, "last": None, "best": 2, "ema": None, "mean": False}
    made = job(tmp_path, translator, {"pairs": pairs}, {"pairs": pairs}, max_steps=10, eval_steps=2, checkpoints=kept)
    run(made)
    assert [(e["step"], e["objective"]) for e in index(made.out)["best"]] == [(4, 0.5), (8, 0.4)]
    assert {p.name for p in (made.out / "checkpoints").glob("*.safetensors")} == {
        "step-4.safetensors",
        "step-8.safetensors",
    }


def test_a_resumed_training_keeps_the_same(tmp_path, translator, pairs, job, monkeypatch, killed_at):
    monkeypatch.setattr("consomme.train.arguments.FEWEST", 4)
    options = {"max_steps": 14, "checkpoints": EVERYTHING}
    whole, made = (job(tmp_path / name, translator, {"pairs": pairs}, **options) for name in ("whole", "killed"))
    run(whole)
    killed_at(11, made, monkeypatch)
    run(made)
    assert index(whole.out) == index(made.out)
    for path in (whole.out / "checkpoints").iterdir():
        assert path.read_bytes() == (made.out / "checkpoints" / path.name).read_bytes(), path.name


def test_a_child_does_not_inherit_them(tmp_path, translator, pairs, job):
    parent = job(tmp_path / "a", translator, {"pairs": pairs}, max_steps=4, checkpoints=EVERYTHING)
    run(parent)
    child = job(tmp_path / "b", parent.out, {"pairs": pairs}, max_steps=2)
    run(child)
    assert not (child.out / "checkpoints").exists()
