"""Training in float16: the loss is scaled, a step that overflows is skipped, and neither is divergence."""

import json
import math

import pytest
import torch

from consomme.common.provenance import weights_hash
from consomme.families import load
from consomme.train import losses
from consomme.train.microbatches import PASS
from consomme.train.stage import run

HALF = {"precision": "float16", "max_steps": 6}


def entries(made):
    return [json.loads(line) for line in (made.out / "progress.jsonl").read_text().splitlines()]


def said(made):
    return json.loads((made.out / "provenance.json").read_text())


@pytest.fixture
def infinite_at(monkeypatch):
    """The losses of these calls are infinite; a batch is one piece, and has one."""
    monkeypatch.setitem(PASS, "cpu", 1000.0)
    monkeypatch.setattr("consomme.train.progress.SECONDS", 0.0)

    def breaks(calls):
        plain, called = losses.seq2seq, []

        def broken(*given):
            called.append(1)
            return plain(*given) * (math.inf if len(called) in calls else 1)

        monkeypatch.setattr(losses, "seq2seq", broken)

    return breaks


def test_it_learns_as_float32_does(tmp_path, translator, pairs, job, monkeypatch):
    monkeypatch.setattr("consomme.train.progress.SECONDS", 0.0)
    found = {}
    for precision in ("float32", "float16"):
        made = job(tmp_path / precision, translator, {"pairs": pairs}, **HALF | {"precision": precision})
        run(made)
        found[precision] = [entry["loss"] for entry in entries(made)]
    assert found["float16"] != found["float32"]
    assert found["float16"] == pytest.approx(found["float32"], rel=0.003)
    assert found["float16"][-1] < 0.97 * found["float16"][0]


def test_an_overflow_skips_its_step_and_halves_the_scale(tmp_path, translator, pairs, job, infinite_at):
    infinite_at({3})
    made = job(tmp_path, translator, {"pairs": pairs}, **HALF)
    run(made)
    assert said(made)["steps"] == 6 and "diverged" not in said(made)
    assert [e["loss_scale"] for e in entries(made)[:4]] == [2**16, 2**16, 2**15, 2**15]
    assert entries(made)[2]["grad_norm"] is None and all(math.isfinite(e["loss"]) for e in entries(made))
    assert all(bool(torch.isfinite(p).all()) for p in load(made.out).parameters())


def test_a_skipped_step_changes_no_weight(tmp_path, translator, pairs, job, infinite_at):
    infinite_at({1})
    made = job(tmp_path, translator, {"pairs": pairs}, **HALF | {"max_steps": 1})
    run(made)
    assert weights_hash(made.out) == weights_hash(translator)


def test_overflows_without_end_are_divergence(tmp_path, translator, pairs, job, infinite_at):
    infinite_at(set(range(5, 100)))
    made = job(tmp_path, translator, {"pairs": pairs}, **HALF | {"max_steps": 36})
    run(made)
    # 2 ** 16 is halved below 1e-4 by the thirtieth
    assert said(made)["diverged"]["step"] in (34, 35) and said(made)["diverged"]["loss"] == "inf"


def test_a_resumed_training_goes_on_with_the_scale(
    tmp_path, translator, pairs, job, infinite_at, killed_at, monkeypatch
):
    monkeypatch.setattr("consomme.train.arguments.FEWEST", 4)
    made = {}
    for name in ("whole", "killed"):
        infinite_at({3})
        options = HALF | {"lr_scheduler_type": "cosine"}
        made[name] = job(tmp_path / name, translator, {"pairs": pairs}, **options)
        if name == "killed":
            killed_at(5, made[name], monkeypatch)
        run(made[name])
    assert [entries(m)[-1]["loss_scale"] for m in made.values()] == [2**15, 2**15]
    assert weights_hash(made["whole"].out) == weights_hash(made["killed"].out)


@pytest.mark.parametrize(
    "options", [{"max_grad_norm": 0.0}, {"optim": "muon"}, {"optim": "adafactor"}, {"optim": "lion"}]
)
def test_whatever_takes_the_step_gets_unscaled_gradients(tmp_path, translator, pairs, job, monkeypatch, options):
    """Scaled ones would be 65536 times as long."""
    monkeypatch.setattr("consomme.train.progress.SECONDS", 0.0)
    norms = []
    for precision in ("float32", "float16"):
        settings = HALF | {"precision": precision, "max_steps": 2, "gradient_accumulation_steps": 2} | options
        made = job(tmp_path / precision, translator, {"pairs": pairs}, **settings)
        run(made)
        norms.append([e["grad_norm"] for e in entries(made)])
    assert norms[1] == pytest.approx(norms[0], rel=0.02)
