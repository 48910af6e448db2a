"""Weights, gradients and optimizer state that are dealt out to two processes give what one process gives."""

import os
import signal
import sys
from dataclasses import replace

import pytest
import torch
from torch.distributed.tensor import DTensor

from consomme.train import stage
from consomme.train.progress import Progress
from consomme.train.trainer import AsrNmtTrainer

from .processes import (
    PLAIN,
    TWO,
    assert_alike,
    assert_alike_loosely,
    assert_weights_alike,
    checkpoint_of,
    end_at,
    logged,
    record,
    weights,
)

pytestmark = pytest.mark.usefixtures("forked")
SHARDED = {"gpus": 2, "shard_weights": True}


# -- the same result ----------------------------------------------------------------------------------------------------
def test_a_recogniser_with_layer_drop_accumulation_evaluations_and_kept_checkpoints(both, recogniser, tones):
    one, two = both(
        recogniser,
        tones,
        dev=True,
        execution=SHARDED,
        gradient_accumulation_steps=2,
        encoder_layerdrop=0.4,
        eval_steps=3,
        load_best_model_at_end=True,
        intermediate_ctc={"random": 1, "weight": 0.3},
        checkpoints={"every": 2, "last": 2, "best": None, "ema": None, "mean": False},
        learning_rates={"head": 0.05},
        max_grad_norm=0.5,
    )
    stage.run(one)
    stage.run(two)
    assert_alike(one, two)
    for a, b in zip(logged(one, "grad_norm"), logged(two, "grad_norm"), strict=True):
        assert b == (a[0], pytest.approx(a[1], rel=1e-4))
    found = [record(made) for made in (one, two)]
    assert found[1]["processes"] == 2 and found[0]["kept"]["last"] != []
    for a, b in zip(*(r["chosen"]["evaluations"] for r in found), strict=True):
        assert a["step"] == b["step"] and b["objective"] == pytest.approx(a["objective"], rel=1e-5)
    for entry in found[0]["kept"]["last"]:
        assert_weights_alike(one, two, f"checkpoints/{entry['file']}")


def test_whisper_with_ctc_and_windows_of_each_batch(both, folders, tones):
    one, two = both(
        folders("whisper"),
        tones,
        execution=SHARDED,
        window="short",
        full_windows=0.3,
        ctc_weight=0.3,
        max_steps=4,
        learning_rate=0.01,
    )
    stage.run(one)
    stage.run(two)
    assert_alike(one, two)


@pytest.mark.parametrize(
    "settings",
    [
        {"distil": {"weight": 0.5, "temperature": 2.0, "hidden": 0.5}, "label_smoothing_factor": 0.1},
        {"per_device_train_batch_size": None, "batch_tokens": 20, "encoder_layerdrop": 0.5},
        {"per_device_train_batch_size": 1, "encoder_layerdrop": 0.5, "weight_decay": 0.5},
        {"freeze": ["encoder"]},
        {"gradient_checkpointing": True, "encoder_layerdrop": 0.5},
        {"precision": "bfloat16", "max_steps": 2},
    ],
    ids=["distilled", "filled-batches", "fewer-rows-than-processes", "frozen", "computed-again", "bfloat16"],
)
def test_a_translator(both, translator, pairs, settings):
    execution = {**SHARDED, "gradient_checkpointing": settings.pop("gradient_checkpointing", False)}
    if "distil" in settings:
        settings = settings | {"teacher": translator}
    one, two = both(translator, pairs, execution=execution, **settings)
    stage.run(one)
    stage.run(two)
    if "precision" in settings:  # each microbatch has its own rounding
        a, b = weights(one), weights(two)
        assert all(torch.allclose(a[n], b[n], atol=2e-3) for n in a)
    else:
        assert_alike(one, two)


@pytest.mark.parametrize("name", ["parakeet", "parakeet_tdt"])
def test_others_as_whole_weights_in_two_processes(tmp_path, job, folders, tones, name):
    """Batch norms, which differ from those of one process, and are not to count the passes of a process without rows."""
    given = {**PLAIN, "learning_rate": 0.01, "per_device_train_batch_size": 1, "encoder_layerdrop": 0.3}
    plain, parts = (
        job(tmp_path / which, folders(name), {"c": tones}, execution=how, **given)
        for which, how in (("plain", TWO), ("parts", SHARDED))
    )
    stage.run(plain)
    stage.run(parts)
    assert_alike(plain, parts)


def test_a_step_that_overflows_in_one_part_is_skipped_by_all(tmp_path, job, translator, pairs, monkeypatch, capfd):
    plain = AsrNmtTrainer._added

    def overflown(self, share):
        found = plain(self, share)
        if self.state.global_step == 2 and self.ranks.rank == 1:
            next(p.grad for p in self.model.parameters() if p.grad is not None).to_local()[0] = float("inf")
        return found

    def tell(self, args, state, control, **more):
        print(f"scale {state.global_step} {self.trainer.loss_scale}", file=sys.stderr)

    monkeypatch.setattr(AsrNmtTrainer, "_added", overflown)
    monkeypatch.setattr(Progress, "on_step_end", tell)
    stage.run(job(tmp_path, translator, {"c": pairs}, execution=SHARDED, **PLAIN | {"precision": "float16"}))
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("scale ")]
    assert sorted(said) == sorted([f"scale {n} {2.0 ** (16 if n < 3 else 15)}" for n in range(1, 7)] * 2)


def test_each_process_holds_a_part(tmp_path, job, recogniser, tones, monkeypatch, capfd):
    plain = Progress.on_step_end

    def tell(self, args, state, control, model=None, optimizer=None, **more):
        groups = optimizer.param_groups
        held = [p for g in groups for p in g["params"]] + [s for p in optimizer.state.values() for s in p.values()]
        held += list(model.parameters())
        parts = [t.to_local() for t in held if isinstance(t, DTensor)]
        assert len(parts) >= len(held) - len(list(model.parameters()))  # all but AdamW's number of steps
        print(f"holds {sum(t.numel() for t in parts)}", file=sys.stderr)
        plain(self, args, state, control, model=model, **more)

    monkeypatch.setattr(Progress, "on_step_end", tell)
    made = job(
        tmp_path, recogniser, {"c": tones}, execution=SHARDED, **PLAIN | {"optim": "adamw_torch_fused", "max_steps": 1}
    )
    stage.run(made)
    parts = [int(line.split()[-1]) for line in capfd.readouterr().err.splitlines() if line.startswith("holds ")]
    whole = 4 * sum(tensor.numel() for tensor in weights(made).values())
    assert len(parts) == 2 and max(parts) < 0.55 * whole and sum(parts) == pytest.approx(whole, rel=0.01)


# -- going on, and ending -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "first, then",
    [
        (SHARDED, SHARDED),
        (SHARDED, {}),
        ({}, SHARDED),
        (SHARDED, {"gpus": 3, "shard_weights": True}),
        (SHARDED, {"gpus": 2, "shard_optimizer": True}),
    ],
)
def test_a_training_goes_on_with_parts_or_whole(both, recogniser, tones, monkeypatch, capfd, first, then):
    monkeypatch.setattr("consomme.train.arguments.FEWEST", 4)
    options = {"max_steps": 8, "optim": "adamw_torch_fused", "learning_rate": 1e-3, "lr_scheduler_type": "cosine"}
    one, two = both(recogniser, tones, **options)
    stage.run(one)

    def leave(status):
        raise SystemExit(status)

    begun, ended = (replace(two, spec={**two.spec, "execution": how}) for how in (first, then))
    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        end_at(6, patched, leave)
        stage.run(begun)
    assert checkpoint_of(two) == ["checkpoint-4"]
    capfd.readouterr()
    stage.run(ended)
    assert capfd.readouterr().err.count("resuming from checkpoint-4") == 1
    assert_alike_loosely(one, two)
    assert record(two).get("processes", 1) == then.get("gpus", 1)


def test_divergence_ends_all(both, translator, pairs, monkeypatch, capfd):
    monkeypatch.setattr("consomme.train.arguments.FEWEST", 2)
    given = {"learning_rate": 3.0, "max_grad_norm": 1e9, "max_loss": 3.4, "max_steps": 40}
    one, two = both(translator, pairs, execution=SHARDED, **given)
    stage.run(one)
    stage.run(two)
    found = [record(made)["diverged"] for made in (one, two)]
    assert found[0]["step"] == found[1]["step"] and found[0]["weights_of_step"] == found[1]["weights_of_step"]
    assert capfd.readouterr().err.count("the run is recorded as diverged") == 2
    a, b = weights(one), weights(two)
    assert all(torch.allclose(a[n], b[n], rtol=1e-3, atol=1e-5) for n in a)


def test_out_of_memory_in_a_pass_starts_all_again_with_less_at_once(both, translator, pairs, monkeypatch, capfd):
    monkeypatch.setattr("consomme.train.arguments.FEWEST", 2)
    one, two = both(translator, pairs, execution=SHARDED, gradient_accumulation_steps=2)
    stage.run(one)
    plain = AsrNmtTrainer.compute_loss

    def narrow(self, model, inputs, *given, **more):
        if self.ranks.rank == 1 and len(inputs["labels"]) > 2 and self.state.global_step == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return plain(self, model, inputs, *given, **more)

    monkeypatch.setattr(AsrNmtTrainer, "compute_loss", narrow)
    capfd.readouterr()
    stage.run(two)
    said = capfd.readouterr().err
    assert said.count("out of memory") == record(two)["pieces"].bit_length() - 1 and "Traceback" not in said
    assert said.count("resuming from checkpoint-2") == said.count("out of memory")
    assert_weights_alike(one, two)


def test_an_error_in_a_pass_is_said(both, translator, pairs, monkeypatch, capfd):
    _, two = both(translator, pairs, execution=SHARDED)
    monkeypatch.setattr(AsrNmtTrainer, "compute_loss", lambda *given, **more: 1 / 0)
    with pytest.raises(SystemExit) as ended:
        stage.run(two)
    assert ended.value.code not in (0, 75) and "ZeroDivisionError" in capfd.readouterr().err


def test_a_signal_saves_and_ends_all(both, translator, pairs, monkeypatch, capfd):
    one, two = both(translator, pairs, execution=SHARDED, max_steps=30)
    stage.run(one)
    plain = Progress.on_step_end

    def interrupted(self, args, state, control, **more):
        if state.global_step == 7 and self.ranks.rank == 1:
            os.kill(os.getppid(), signal.SIGTERM)
        plain(self, args, state, control, **more)

    with monkeypatch.context() as patched, pytest.raises(SystemExit) as ended:
        patched.setattr(Progress, "on_step_end", interrupted)
        stage.run(two)
    assert ended.value.code == 75
    said = capfd.readouterr().err
    assert said.count("the same command goes on from there") == 1 and "Traceback" not in said
    (saved,) = checkpoint_of(two)
    assert 7 <= int(saved.rpartition("-")[2]) < 30
    stage.run(two)
    assert f"resuming from {saved}" in capfd.readouterr().err
    assert_weights_alike(one, two)
