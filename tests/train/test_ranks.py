"""Several processes train one model as one process does. Here two share the processor, over gloo."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from consomme.common import gpus
from consomme.common.errors import ConsommeError
from consomme.train import ranks, stage
from consomme.train.progress import Progress
from consomme.train.share import deal
from consomme.train.trainer import AsrNmtTrainer

from .processes import (
    PLAIN,
    TWO,
    assert_alike,
    assert_alike_loosely,
    assert_weights_alike,
    checkpoint_of,
    end_at,
    record,
    weights,
)

pytestmark = pytest.mark.usefixtures("forked")


# -- who gets what ------------------------------------------------------------------------------------------------------
def test_each_rank_gets_about_the_same_work():
    random = np.random.default_rng(0)
    for rows, count in ((16, 4), (64, 2), (7, 3), (2, 4)):
        work = random.integers(50, 150, rows)
        found = deal(work, count)
        assert set(found) <= set(range(count))
        loads = [work[found == r].sum() for r in range(count)]
        assert max(loads) - min(loads) <= work.max()
        # rows of like length together: little padding
        assert (np.diff(found[np.argsort(-work, kind="stable")]) >= 0).all()
    assert [int((deal(np.ones(12), 4) == r).sum()) for r in range(4)] == [3, 3, 3, 3]


def test_gradients_are_added_in_lists_that_fit(monkeypatch):
    monkeypatch.setattr(ranks, "BUCKET", 5)
    tensors = [torch.zeros(n) for n in (2, 2, 2, 9, 1)] + [torch.zeros(1, dtype=torch.float64)]
    assert [[t.numel() for t in bucket] for bucket in ranks.buckets(tensors)] == [[2, 2], [2], [9], [1], [1]]


def test_what_is_added(monkeypatch):
    model = torch.nn.Sequential(
        torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    )
    model[0].weight.grad = torch.ones(2, 2)
    model[2].weight.requires_grad_(False)
    model[1].running_mean.fill_(4.0)
    # the other rank has no layer 0, and its batch norm has seen zeros
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: None)
    assert float(ranks.Ranks(0, 2).add(model, torch.tensor(3.0))) == 3.0
    assert model[0].weight.grad.tolist() == [[1, 1], [1, 1]] and model[1].running_mean.tolist() == [2, 2]
    assert model[3].weight.grad is None and model[2].weight.grad is None
    # the other rank has the same
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.mul_(2))
    assert float(ranks.Ranks(1, 2).add(model, torch.tensor(3.0))) == 6.0
    assert model[0].weight.grad.tolist() == [[2, 2], [2, 2]] and model[1].running_mean.tolist() == [2, 2]
    # one that has no rows has no gradients of its own
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.add_(1))
    monkeypatch.setattr(ranks.Ranks, "sums", lambda self: {})
    ranks.Ranks(1, 2).add(model, torch.tensor(0.0))
    assert model[3].weight.grad.tolist() == [[1, 1], [1, 1]] and model[2].weight.grad is None


def test_the_first_event_of_all_counts(monkeypatch):
    def told(message):
        message[ranks.FIGURES.index(ranks.OUT_OF_MEMORY)] = 1

    monkeypatch.setattr(torch.distributed, "all_reduce", told)
    with pytest.raises(ranks.Told) as found:
        ranks.Ranks(0, 2).any(False)
    assert found.value.event == stage.event_of(found.value) == ranks.OUT_OF_MEMORY
    assert ranks.ALONE.any(True) and not ranks.ALONE.any(False)


# -- the same result ----------------------------------------------------------------------------------------------------
def test_a_recogniser_with_layer_drop_accumulation_and_evaluations(both, recogniser, tones):
    one, two = both(
        recogniser,
        tones,
        dev=True,
        gradient_accumulation_steps=2,
        encoder_layerdrop=0.4,
        eval_steps=3,
        load_best_model_at_end=True,
        intermediate_ctc={"random": 1, "weight": 0.3},
        augment={"spec_augment": {"time_masks": 1, "time_width": 0.2, "frequency_masks": 1, "frequency_width": 4}},
    )
    stage.run(one)
    stage.run(two)
    assert_alike(one, two)
    found = [record(made) for made in (one, two)]
    assert "processes" not in found[0] and found[1]["processes"] == 2
    for a, b in zip(*(r["chosen"]["evaluations"] for r in found), strict=True):
        assert a["step"] == b["step"] and b["objective"] == pytest.approx(a["objective"], rel=1e-5)


def test_whisper_with_ctc_and_windows_of_each_batch(both, folders, tones):
    one, two = both(
        folders("whisper"), tones, window="short", full_windows=0.3, ctc_weight=0.3, max_steps=4, learning_rate=0.01
    )
    stage.run(one)
    stage.run(two)
    assert_alike(one, two)


@pytest.mark.parametrize(
    "settings",
    [
        {"distil": {"weight": 0.5, "temperature": 2.0, "hidden": 0.5}, "label_smoothing_factor": 0.1},
        {"per_device_train_batch_size": None, "batch_tokens": 20, "encoder_layerdrop": 0.5},
        {
            "per_device_train_batch_size": 1,  # one of the two has nothing to do, and layers are dropped
            "encoder_layerdrop": 0.5,
            "weight_decay": 0.5,
            "checkpoints": {"every": 2, "last": 2, "best": None, "ema": 0.9, "mean": True},
        },
        {"lora": {"r": 2, "lora_alpha": 4, "lora_dropout": 0.0, "target_modules": None}, "freeze": ["encoder"]},
        {"precision": "bfloat16", "max_steps": 2},
    ],
    ids=["distilled", "filled-batches", "fewer-rows-than-processes", "adapters", "bfloat16"],
)
def test_a_translator(both, translator, pairs, settings):
    if "distil" in settings:
        settings = settings | {"teacher": translator}
    one, two = both(translator, pairs, **settings)
    stage.run(one)
    stage.run(two)
    if settings.get("precision") == "bfloat16":  # each microbatch has its own rounding
        a, b = weights(one), weights(two)
        assert all(torch.allclose(a[n], b[n], atol=2e-3) for n in a)
        return
    assert_alike(one, two)
    if "checkpoints" in settings:
        names = [sorted(p.name for p in (made.out / "checkpoints").iterdir()) for made in (one, two)]
        assert names[0] == names[1] != []


def test_dropout_is_of_each_process_and_a_resumed_training_draws_it_again(
    tmp_path, job, translator, pairs, monkeypatch
):
    monkeypatch.setattr("consomme.train.arguments.FEWEST", 4)
    options = {**PLAIN, "dropout": 0.3, "max_steps": 10}
    whole, again = (
        job(tmp_path / name, translator, {"c": pairs}, execution=TWO, **options) for name in ("whole", "again")
    )
    drawn = tmp_path / "drawn"
    plain = AsrNmtTrainer.training_step

    def noted(self, *given, **more):
        found = plain(self, *given, **more)
        with drawn.open("a") as stream:
            stream.write(f"{self.state.global_step} {torch.rand(()).item()}\n")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(AsrNmtTrainer, "training_step", noted)
        stage.run(whole)
    lines = drawn.read_text().splitlines()
    assert len(lines) == len(set(lines)) == 2 * 10  # no two processes have the same numbers
    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        end_at(6, patched)
        stage.run(again)
    assert checkpoint_of(again) == ["checkpoint-4"]
    stage.run(again)
    assert (whole.out / "model.safetensors").read_bytes() == (again.out / "model.safetensors").read_bytes()


# -- going on, and ending -----------------------------------------------------------------------------------------------
SHARDED = {"gpus": 2, "shard_optimizer": True}


@pytest.mark.parametrize(
    "first, then",
    [({}, TWO), (TWO, {}), (SHARDED, SHARDED), (SHARDED, {}), ({}, SHARDED), (SHARDED, TWO)],
)
def test_another_number_of_processes_goes_on_with_a_state_in_parts_or_whole(
    both, recogniser, tones, monkeypatch, capfd, first, then
):
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
    said = capfd.readouterr().err
    assert said.count("resuming from checkpoint-4") == 1
    assert_alike_loosely(one, two)
    assert record(two).get("processes", 1) == then.get("gpus", 1)


@pytest.mark.parametrize("optim", ["adamw_torch_fused", "lion", "adafactor"])
def test_a_state_in_parts_gives_the_weights_of_a_whole_one(tmp_path, job, recogniser, tones, optim):
    """Layers that are dropped have no gradient, and parts of the model have rates of their own."""
    given = {**PLAIN, "optim": optim, "learning_rate": 1e-3, "lr_scheduler_type": "cosine", "encoder_layerdrop": 0.5}
    given |= {"learning_rates": {"head": 3e-3}, "layerwise_lr_decay": 0.8, "max_grad_norm": 0.5}
    whole, parts = (
        job(tmp_path / name, recogniser, {"c": tones}, execution=how, **given)
        for name, how in (("whole", TWO), ("parts", SHARDED))
    )
    stage.run(whole)
    stage.run(parts)
    a, b = weights(whole), weights(parts)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_each_process_holds_a_part(tmp_path, job, recogniser, tones, monkeypatch, capfd):
    held = AsrNmtTrainer.create_optimizer

    def tell(self, model=None):
        optimizer = held(self, model)
        print(f"holds {sum(p.numel() for g in optimizer.optim.param_groups for p in g['params'])}", file=sys.stderr)
        return optimizer

    monkeypatch.setattr(AsrNmtTrainer, "create_optimizer", tell)
    made = job(tmp_path, recogniser, {"c": tones}, execution=SHARDED, **PLAIN)
    stage.run(made)
    parts = [int(line.split()[-1]) for line in capfd.readouterr().err.splitlines() if line.startswith("holds ")]
    whole = sum(tensor.numel() for tensor in weights(made).values())
    assert len(parts) == 2 and max(parts) < 0.7 * whole and sum(parts) == pytest.approx(whole, rel=0.01)


def test_divergence_ends_all(both, translator, pairs, monkeypatch, capfd):
    monkeypatch.setattr("consomme.train.arguments.FEWEST", 2)
    one, two = both(translator, pairs, learning_rate=3.0, max_grad_norm=1e9, max_loss=3.4, max_steps=40)
    stage.run(one)
    stage.run(two)
    found = [record(made)["diverged"] for made in (one, two)]
    assert found[0]["step"] == found[1]["step"] and found[0]["weights_of_step"] == found[1]["weights_of_step"]
    assert found[1]["loss"] == pytest.approx(found[0]["loss"], rel=1e-4)
    assert capfd.readouterr().err.count("the run is recorded as diverged") == 2
    a, b = weights(one), weights(two)
    assert all(torch.allclose(a[n], b[n], rtol=1e-3, atol=1e-5) for n in a)


@pytest.mark.parametrize("who", [0, 1])
def test_out_of_memory_on_one_splits_the_batches_of_all(both, translator, pairs, monkeypatch, capfd, who):
    one, two = both(translator, pairs, gradient_accumulation_steps=2)
    stage.run(one)
    plain = AsrNmtTrainer.compute_loss

    def narrow(self, model, inputs, *given, **more):
        if self.ranks.rank == who and len(inputs["labels"]) > 2 and self.state.global_step == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return plain(self, model, inputs, *given, **more)

    monkeypatch.setattr(AsrNmtTrainer, "compute_loss", narrow)
    capfd.readouterr()
    stage.run(two)
    assert capfd.readouterr().err.count("out of memory") == record(two)["pieces"].bit_length() - 1
    assert_weights_alike(one, two)


def test_a_signal_saves_and_ends_all(both, translator, pairs, monkeypatch, capfd):
    one, two = both(translator, pairs, max_steps=30)
    stage.run(one)
    plain = Progress.on_step_end

    def interrupted(self, args, state, control, **more):
        if state.global_step == 7 and self.ranks.rank == 1:
            os.kill(os.getppid(), signal.SIGTERM)
        plain(self, args, state, control, **more)

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patched, pytest.raises(SystemExit) as ended:
        patched.setattr(Progress, "on_step_end", interrupted)
        stage.run(two)
    assert ended.value.code == 75 and signal.getsignal(signal.SIGTERM) is before
    said = capfd.readouterr().err
    assert said.count("the same command goes on from there") == 1 and "Traceback" not in said
    (saved,) = checkpoint_of(two)
    assert 7 <= int(saved.rpartition("-")[2]) < 30
    stage.run(two)
    assert f"resuming from {saved}" in capfd.readouterr().err
    assert_weights_alike(one, two)


def test_a_process_that_is_killed_ends_all(both, translator, pairs, monkeypatch):
    _, two = both(translator, pairs, max_steps=12)
    monkeypatch.setattr("consomme.train.arguments.FEWEST", 4)
    with monkeypatch.context() as patched, pytest.raises(SystemExit) as ended:
        end_at(6, patched, lambda status: os.kill(os.getpid(), signal.SIGKILL), who=(1,))
        stage.run(two)
    assert ended.value.code not in (0, 75) and not two.out.exists()
    assert checkpoint_of(two) == ["checkpoint-4"]
    stage.run(two)
    assert record(two)["steps"] == 12


def test_an_error_is_said_once(both, translator, pairs, capfd):
    _, two = both(translator, pairs, learning_rates={"nothing.like.this": 0.1})
    with pytest.raises(SystemExit) as ended:
        stage.run(two)
    said = capfd.readouterr().err
    assert ended.value.code == 2 and said.count("error: ") == 1 and "nothing.like.this" in said


# -- where they run -----------------------------------------------------------------------------------------------------
def test_more_gpus_than_there_are(both, translator, pairs, monkeypatch, tmp_path):
    _, two = both(translator, pairs)
    two = replace(two, device="auto")
    monkeypatch.setattr(gpus, "DEVICES", tmp_path)
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    with pytest.raises(ConsommeError, match=r"gpus: 2: \S+ has none; lower it.*CONSOMME_DEVICE=cpu"):
        stage.run(two)
    (tmp_path / "nvidia0").touch()
    with pytest.raises(ConsommeError, match=r"gpus: 2: \S+ has 1; lower it"):
        stage.run(two)
    monkeypatch.setenv(gpus.VISIBLE, "3")
    with pytest.raises(ConsommeError, match=r"has 1 \(CUDA_VISIBLE_DEVICES=3\)"):
        stage.run(two)


def test_several_nodes_are_for_slurm(both, translator, pairs, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    _, two = both(translator, pairs, execution={"nodes": 2})
    with pytest.raises(ConsommeError, match="nodes: 2: several nodes are for Slurm"):
        stage.run(two)


SRUN = """#!{python}
import os, subprocess, sys
said = dict(one.split("=") for one in sys.argv[1:] if one.startswith("--") and "=" in one)
assert not [name for name in os.environ if name.startswith("SLURM_") and name != "SLURM_JOB_ID"], "options of the step around"
command = sys.argv[1 + max(i for i, one in enumerate(sys.argv[1:]) if one.startswith("--")) + 1 :]
each = int(said["--ntasks-per-node"])
assert int(said["--ntasks"]) == each * int(said["--nodes"])
here = [
    subprocess.Popen(command, env={{**os.environ, "SLURM_PROCID": str(n), "SLURM_LOCALID": str(n % each)}})
    for n in range(int(said["--ntasks"]))
]
sys.exit(max(process.wait() for process in here))
"""


@pytest.mark.slow
def test_nodes_are_reached_by_srun(both, translator, pairs, monkeypatch, tmp_path):
    """A stand-in for srun starts real processes."""
    monkeypatch.undo()
    script = tmp_path / "bin" / "srun"
    script.parent.mkdir()
    script.write_text(SRUN.format(python=sys.executable))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    one, two = both(translator, pairs, execution={"nodes": 2})
    stage.run(one)
    stage.run(two)
    assert_alike(one, two)


@pytest.mark.parametrize("given, found", [("", []), ("-1", []), ("2", ["2"]), ("0,3", ["0", "3"])])
def test_what_a_scheduler_gives_is_taken(monkeypatch, given, found):
    monkeypatch.setenv(gpus.VISIBLE, given)
    gpus.lease()
    assert gpus.visible() == found and os.environ[gpus.VISIBLE] == given


LEASE = """
import sys, tempfile, time
from pathlib import Path
from consomme.common import gpus
gpus.DEVICES, tempfile.tempdir = Path(sys.argv[1]), sys.argv[1]
gpus.lease(int(sys.argv[2]))
print(",".join(gpus.visible()), flush=True)
sys.stdin.read()
"""


def test_each_job_has_gpus_of_its_own(tmp_path, monkeypatch):
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    for number in range(4):
        (tmp_path / f"nvidia{number}").touch()
    for other in ("nvidiactl", "nvidia-uvm"):
        (tmp_path / other).touch()
    jobs, pipe = [], subprocess.PIPE

    def another(wanted):
        command = [sys.executable, "-c", LEASE, str(tmp_path), str(wanted)]
        jobs.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        return jobs[-1].stdout.readline().strip()

    try:
        assert [another(n) for n in (1, 2, 1)] == ["0", "1,2", "3"]
        assert another(1) == "0" and another(1) == "1"  # more jobs than GPUs: spread out
        jobs[2].communicate()
        assert another(1) == "3"  # free again
        assert another(4) == "0,1,2,3"  # all there are: nothing to choose
    finally:
        for process in jobs:
            process.kill()
            process.wait()
