"""A killed training goes on from its last whole checkpoint and ends with the very same weights."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from consomme.common.digest import digest
from consomme.train import checkpoints, stage
from consomme.train.progress import Progress

OPTIONS = {"max_steps": 25, "encoder_layerdrop": 0.3, "lr_scheduler_type": "cosine", "num_train_epochs": None}


class Killed(Exception):
    pass


def kill_after(step, monkeypatch):
    plain = Progress.on_step_end

    def broken(self, args, state, control, **more):
        if state.global_step == step:
            raise Killed
        plain(self, args, state, control, **more)

    monkeypatch.setattr(Progress, "on_step_end", broken)


def broken():
    raise Killed


def state_of(made):
    return made.state / digest(stage.identity(made)) / "work"


def same_weights(a, b):
    return (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()


@pytest.mark.parametrize("size", [8, 10], ids=["inside-an-epoch", "at-its-end"])
def test_resumed_training_is_bit_identical(tmp_path, recogniser, tones, monkeypatch, capfd, size, job):
    monkeypatch.setattr("consomme.train.arguments.FEWEST", 10)
    augment = {"spec_augment": {"time_masks": 1, "time_width": 0.2, "frequency_masks": 1, "frequency_width": 4}}
    options = OPTIONS | {
        "augment": augment,
        "intermediate_ctc": {"random": 1, "weight": 0.3},
        "eval_steps": 8,
        "per_device_train_batch_size": size,
        "load_best_model_at_end": True,
    }
    dev = {"tones": tones}
    whole = job(tmp_path / "whole", recogniser, {"tones": tones}, dev, **options)
    stage.run(whole)
    made = job(tmp_path / "killed", recogniser, {"tones": tones}, dev, **options)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        kill_after(23, patched)
        stage.run(made)
    work = state_of(made)
    broken = work / "checkpoints" / "checkpoint-999"  # killed while it was being written
    broken.mkdir(parents=True)
    (broken / "trainer_state.json").write_text("{}")
    (work / "checkpoints" / "saving").mkdir(exist_ok=True)
    (work / "progress.jsonl").open("a").write('{"step": 22}\n{"ste')
    capfd.readouterr()
    stage.run(made)
    assert "resuming from checkpoint-20" in capfd.readouterr().err
    assert same_weights(whole.out, made.out)
    chosen = [json.loads((j.out / "provenance.json").read_text())["chosen"] for j in (whole, made)]
    assert chosen[0] == chosen[1]
    steps = [json.loads(line)["step"] for line in (made.out / "progress.jsonl").read_text().splitlines()]
    assert steps == sorted(steps) and not any(work.iterdir())


@pytest.mark.parametrize("stopped", ["at-the-end", "early"])
def test_a_training_killed_after_its_last_step_takes_no_step_too_many(
    tmp_path, translator, pairs, monkeypatch, stopped, job
):
    monkeypatch.setattr("consomme.train.arguments.FEWEST", 10)
    options = OPTIONS | {"max_steps": 20 if stopped == "at-the-end" else 60}
    if stopped == "early":
        options |= {"eval_steps": 10, "early_stopping_patience": 1}
        # each evaluation is worse than the one before
        monkeypatch.setattr("consomme.evaluate.choice.objective", lambda *_: seen.append(1) or 1 / len(seen))
    seen = []
    whole, made = (job(tmp_path / name, translator, {"pairs": pairs}, {"pairs": pairs}, **options) for name in "ab")
    stage.run(whole)
    seen.clear()
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(stage, "save", lambda *given: broken())
        stage.run(made)
    seen[1:] = []  # as the one at step 10 is in the checkpoint
    stage.run(made)
    found = [json.loads((j.out / "provenance.json").read_text())["steps"] for j in (whole, made)]
    assert found == [20, 20] and same_weights(whole.out, made.out)


def test_a_process_killed_at_any_moment_loses_at_most_the_steps_since(tmp_path, translator, pairs, job):
    options = {**OPTIONS, "max_steps": 90}
    made = job(tmp_path / "killed", translator, {"pairs": pairs}, **options)
    command = [sys.executable, "-m", "consomme.train", "--spec", json.dumps(made.spec), "--out", str(made.out)]
    command += ["--state", str(made.state), "--cache", str(made.cache), "--threads", "1", "--device", "cpu"]
    command += ["--inputs", *map(str, made.inputs.values())]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE)
    saved = state_of(made) / "checkpoints" / "checkpoint-50"
    limit = time.monotonic() + 60
    while not saved.exists() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    said = process.communicate()[1].decode()
    assert saved.parent.exists() and not made.out.exists(), said
    assert "Warning" not in said
    stage.run(made)
    whole = job(tmp_path / "whole", translator, {"pairs": pairs}, **options)
    stage.run(whole)
    assert same_weights(whole.out, made.out)


def test_a_checkpoint_that_is_not_whole_is_passed_over(tmp_path):
    for step in (50, 100):
        folder = tmp_path / "saving" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"weights")
        if step == 50:
            checkpoints.place(folder, tmp_path)
    assert checkpoints.newest(tmp_path).name == "checkpoint-50"
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-50"]
    (tmp_path / "checkpoint-50" / "model.safetensors").write_bytes(b"weig")  # cut off
    assert checkpoints.newest(tmp_path) is None
