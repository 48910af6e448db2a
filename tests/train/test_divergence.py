"""A run that diverges ends with its last good weights, says so in its provenance, and fails nothing."""

import json

import pytest

from consomme.common.provenance import weights_hash
from consomme.train import losses
from consomme.train.microbatches import PASS
from consomme.train.stage import run


@pytest.fixture
def broken_at(monkeypatch):
    """The so-many-th loss is broken; a batch is one piece, and has one."""
    monkeypatch.setitem(PASS, "cpu", 1000.0)

    def breaks(call, value=float("nan")):
        plain, calls = losses.seq2seq, []

        def broken(*given):
            calls.append(1)
            found = plain(*given)
            return found * value if len(calls) == call else found

        monkeypatch.setattr(losses, "seq2seq", broken)

    return breaks


def said(out):
    return json.loads((out / "provenance.json").read_text())


def test_without_a_checkpoint_the_parents_weights_are_the_last_good_ones(
    tmp_path, translator, pairs, broken_at, job, capfd
):
    broken_at(3)
    made = job(tmp_path, translator, {"pairs": pairs})
    run(made)
    assert said(made.out)["diverged"] == {"step": 3, "loss": "nan", "weights_of_step": 0}
    assert weights_hash(made.out) == weights_hash(translator)
    (work,) = made.state.rglob("work")
    assert "loss is nan" in capfd.readouterr().err and not any(work.iterdir())


def test_the_last_good_checkpoint_is_kept(tmp_path, translator, pairs, broken_at, job, monkeypatch):
    monkeypatch.setattr("consomme.train.arguments.FEWEST", 5)
    options = {"max_steps": 20, "lr_scheduler_type": "constant"}
    stopped = job(tmp_path / "short", translator, {"pairs": pairs}, **options | {"max_steps": 10})
    run(stopped)
    broken_at(13)
    made = job(tmp_path / "long", translator, {"pairs": pairs}, **options)
    run(made)
    assert said(made.out)["diverged"]["weights_of_step"] == 10 and said(made.out)["steps"] == 10
    assert weights_hash(made.out) == weights_hash(stopped.out)


@pytest.mark.parametrize("execution", [{}, {"save_minutes": 1e-9}], ids=["by-steps", "by-the-clock-too"])
@pytest.mark.parametrize(("call", "good"), [(11, 5), (12, 10)])
def test_a_checkpoint_is_good_when_its_own_weights_gave_a_loss_that_may_be(
    tmp_path, translator, pairs, broken_at, job, monkeypatch, call, good, execution
):
    """The weights of step 10 give the loss of step 11. When the clock asks for checkpoints has no part in it."""
    monkeypatch.setattr("consomme.train.arguments.FEWEST", 5)
    broken_at(call)
    made = job(tmp_path, translator, {"pairs": pairs}, max_steps=20, execution=execution)
    run(made)
    assert said(made.out)["diverged"] == {"step": call, "loss": "nan", "weights_of_step": good}


def test_half_a_loss_proves_no_checkpoint(tmp_path, translator, pairs, broken_at, job, monkeypatch):
    """The weights of step 10 give a loss in two batches: the first of them is sound, the second isn't."""
    monkeypatch.setattr("consomme.train.arguments.FEWEST", 5)
    broken_at(22)
    options = {"max_steps": 20, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 4}
    made = job(tmp_path, translator, {"pairs": pairs}, **options)
    run(made)
    assert said(made.out)["diverged"] == {"step": 11, "loss": "nan", "weights_of_step": 5}


def test_a_spike_counts_also_where_nobody_looks_at_every_step(tmp_path, translator, pairs, broken_at, job, monkeypatch):
    """As on a GPU, where the loss is looked at only when a line is due: the step is the one of the spike."""
    from consomme.train.trainer import AsrNmtTrainer

    look = AsrNmtTrainer.require_finite

    def late(trainer):
        if trainer.state.global_step >= trainer.state.max_steps:
            look(trainer)

    monkeypatch.setattr(AsrNmtTrainer, "require_finite", late)
    broken_at(4, 100.0)
    made = job(tmp_path, translator, {"pairs": pairs}, max_steps=8, max_loss=50.0)
    run(made)
    found = said(made.out)["diverged"]
    assert found["step"] == 4 and found["loss"] > 50


def test_a_loss_beyond_the_bound_is_divergence(tmp_path, translator, pairs, broken_at, job):
    broken_at(4, 100.0)
    made = job(tmp_path, translator, {"pairs": pairs}, max_loss=50.0)
    run(made)
    found = said(made.out)["diverged"]
    assert found["step"] == 4 and found["loss"] > 50


def test_the_loss_of_a_step_is_that_of_all_its_batches(tmp_path, translator, pairs, job):
    options = {"max_steps": 1, "max_loss": 2.0, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
    made = job(tmp_path, translator, {"pairs": pairs}, **options)
    run(made)
    found = said(made.out)["diverged"]
    assert found["step"] == 1 and found["loss"] > 2  # each batch has a quarter of it


def test_adapters_of_a_run_without_a_checkpoint_leave_nothing_behind(tmp_path, translator, pairs, broken_at, job):
    broken_at(3)
    adapters = {"r": 2, "lora_alpha": 4, "lora_dropout": 0.0, "target_modules": None}
    made = job(tmp_path, translator, {"pairs": pairs}, lora=adapters)
    run(made)
    assert "diverged" in said(made.out) and weights_hash(made.out) == weights_hash(translator)


def test_weights_that_are_no_numbers_after_the_last_step(tmp_path, translator, pairs, job, monkeypatch):
    import torch

    from consomme.train.trainer import AsrNmtTrainer

    plain = AsrNmtTrainer.train

    def ruined(self, **given):
        plain(self, **given)
        with torch.no_grad():
            next(self.model.parameters()).fill_(float("inf"))

    monkeypatch.setattr(AsrNmtTrainer, "train", ruined)
    made = job(tmp_path, translator, {"pairs": pairs}, max_steps=2)
    run(made)
    assert "diverged" in said(made.out) and weights_hash(made.out) == weights_hash(translator)


def test_what_was_kept_of_a_diverged_run_is_dropped(tmp_path, translator, pairs, broken_at, job):
    broken_at(8)
    kept = {"every": 2, "last": 2, "best": None, "ema": 0.9, "mean": True}
    made = job(tmp_path, translator, {"pairs": pairs}, checkpoints=kept)
    run(made)
    assert said(made.out)["kept"]["last"] == [] and not list((made.out / "checkpoints").glob("*.safetensors"))
