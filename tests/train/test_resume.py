"""A killed training goes on from its last whole checkpoint and ends with the very same weights."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from consomme.common.digest import digest
from consomme.train import checkpoints, interruption, stage
from consomme.train.development import Development
from consomme.train.progress import Progress

OPTIONS = {"max_steps": 25, "encoder_layerdrop": 0.3, "lr_scheduler_type": "cosine", "num_train_epochs": None}
KEPT = {"every": 5, "last": 2, "best": None, "ema": 0.9, "mean": True}


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


def signalled(made, number):
    """Exit status and words of a training that gets a signal after its first checkpoint."""
    command = [sys.executable, "-m", "consomme.train", "--spec", json.dumps(made.spec), "--out", str(made.out)]
    command += ["--state", str(made.state), "--cache", str(made.cache), "--threads", "1", "--device", "cpu"]
    command += ["--inputs", *map(str, made.inputs.values())]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE)
    saved = state_of(made) / "checkpoints" / "checkpoint-50"
    limit = time.monotonic() + 300
    while not saved.exists() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.005)
    process.send_signal(number)
    said = process.communicate()[1].decode()
    assert saved.parent.exists(), said
    return process.returncode, said


def test_a_process_that_is_asked_to_end_saves_says_so_and_goes_on_from_there(tmp_path, translator, pairs, job):
    options = {**OPTIONS, "max_steps": 300}
    made = job(tmp_path / "asked", translator, {"pairs": pairs}, **options)
    status, said = signalled(made, signal.SIGTERM)
    last = said.splitlines()[-1]
    assert status == interruption.GO_ON == 75 and "Traceback" not in said
    assert re.search(r"interrupted by SIGTERM: saved at step \d+ of 300; the same command goes on from there$", last)
    stage.run(made)
    whole = job(tmp_path / "whole", translator, {"pairs": pairs}, **options)
    stage.run(whole)
    assert same_weights(whole.out, made.out)


@pytest.mark.parametrize("number", interruption.SIGNALS)
def test_after_a_signal_the_current_step_is_the_last_one(tmp_path, recogniser, tones, monkeypatch, capfd, number, job):
    options = OPTIONS | {"eval_steps": 4, "load_best_model_at_end": True, "checkpoints": KEPT}
    whole, made = (job(tmp_path / name, recogniser, {"tones": tones}, {"tones": tones}, **options) for name in "ab")
    stage.run(whole)
    plain = Progress.on_step_end

    def interrupted(self, args, state, control, **more):
        if state.global_step == 13:
            os.kill(os.getpid(), number)
        plain(self, args, state, control, **more)

    before = signal.getsignal(number)
    with monkeypatch.context() as patched, pytest.raises(SystemExit) as ended:
        patched.setattr(Progress, "on_step_end", interrupted)
        stage.run(made)
    assert ended.value.code == 75 and signal.getsignal(number) is before
    saved = sorted(p.name for p in (state_of(made) / "checkpoints").glob("checkpoint-*"))
    assert saved[-1] == "checkpoint-13" and len(saved) <= 2
    assert json.loads((state_of(made) / "progress.jsonl").read_text().splitlines()[-1])["step"] == 13
    capfd.readouterr()
    stage.run(made)
    assert "resuming from checkpoint-13" in capfd.readouterr().err and same_weights(whole.out, made.out)
    names = [{p.name: p.read_bytes() for p in (j.out / "checkpoints").glob("*.safetensors")} for j in (whole, made)]
    assert names[0] == names[1] != {}


@pytest.mark.parametrize("when", ["before", "last"])
def test_a_signal_before_the_first_step_or_after_the_last_one(
    tmp_path, translator, pairs, monkeypatch, capfd, when, job
):
    made = job(tmp_path, translator, {"pairs": pairs}, **OPTIONS)
    patched, name = (stage, "assemble") if when == "before" else (stage, "save")
    plain = getattr(patched, name)

    def interrupted(*given):
        os.kill(os.getpid(), signal.SIGTERM)
        return plain(*given)

    with monkeypatch.context() as patch:
        patch.setattr(patched, name, interrupted)
        if when == "before":
            with pytest.raises(SystemExit) as ended:
                stage.run(made)
            assert ended.value.code == 75 and "before the first step" in capfd.readouterr().err
        else:  # what is left takes no longer than a checkpoint
            stage.run(made)
    assert made.out.exists() == (when == "last")


def test_checkpoints_are_written_by_the_clock_too(tmp_path, translator, pairs, monkeypatch, capfd, job):
    made = job(tmp_path / "a", translator, {"pairs": pairs}, execution={"save_minutes": 1e-9}, **OPTIONS)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        kill_after(13, patched)
        stage.run(made)
    capfd.readouterr()
    stage.run(made)
    assert "resuming from checkpoint-12" in capfd.readouterr().err
    whole = job(tmp_path / "b", translator, {"pairs": pairs}, **OPTIONS)
    stage.run(whole)
    assert same_weights(whole.out, made.out)


def test_a_process_killed_at_any_moment_loses_at_most_the_steps_since(tmp_path, translator, pairs, job):
    options = {**OPTIONS, "max_steps": 90}
    made = job(tmp_path / "killed", translator, {"pairs": pairs}, **options)
    _, said = signalled(made, signal.SIGKILL)
    assert not made.out.exists(), said
    assert "Warning" not in said
    stage.run(made)
    whole = job(tmp_path / "whole", translator, {"pairs": pairs}, **options)
    stage.run(whole)
    assert same_weights(whole.out, made.out)


def saved_at(folder, step):
    path = folder / "saving" / f"checkpoint-{step}"
    path.mkdir(parents=True)
    for name in FILES:
        (path / name).write_bytes(f"{name} {step}".encode())
    return path


FILES = ("model.safetensors", "optimizer.pt", "rng_state.pth", "trainer_state.json", "kept.json")


def test_the_checkpoint_before_stays_until_the_next_one_is_whole(tmp_path):
    for step in (50, 100, 150):
        checkpoints.make_room(tmp_path)
        checkpoints.place(saved_at(tmp_path, step), tmp_path)
    saved_at(tmp_path, 200)  # killed while it was being written
    assert checkpoints.newest(tmp_path).name == "checkpoint-150"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-100", "checkpoint-150"]


@pytest.mark.parametrize("name", [*FILES, "content.json"])
@pytest.mark.parametrize("harm", ["flipped", "cut", "gone"])
def test_a_damaged_checkpoint_is_named_and_passed_over(tmp_path, name, harm, capfd):
    for step in (50, 100):
        checkpoints.place(saved_at(tmp_path, step), tmp_path)
    hurt(tmp_path / "checkpoint-100" / name, harm)
    assert checkpoints.newest(tmp_path).name == "checkpoint-50"
    said = capfd.readouterr().err
    assert "checkpoint-100 is damaged and passed over" in said
    assert name in said or name == "content.json"
    hurt(tmp_path / "checkpoint-50" / name, harm)
    assert checkpoints.newest(tmp_path) is None


def hurt(path, harm):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(content if harm == "flipped" else content[:-3])


def test_a_training_goes_on_from_the_checkpoint_before_a_damaged_one(
    tmp_path, recogniser, tones, monkeypatch, capfd, job
):
    """To the very same weights; the best ones so far, and those kept for averaging, are there for it, too."""
    monkeypatch.setattr("consomme.train.arguments.FEWEST", 10)
    # the best evaluation is the first, then the one at step 16
    values = {4: 2.0, 8: 1.0, 12: 1.0, 16: 3.0, 20: 1.0, 24: 1.0, 25: 1.0}
    plain = Development.on_step_end

    def on_step_end(self, args, state, control, **more):
        self.objective = lambda model: values[state.global_step]
        plain(self, args, state, control, **more)

    monkeypatch.setattr(Development, "on_step_end", on_step_end)
    options = OPTIONS | {"eval_steps": 4, "load_best_model_at_end": True, "checkpoints": KEPT}
    whole, made = (job(tmp_path / name, recogniser, {"tones": tones}, {"tones": tones}, **options) for name in "ab")
    stage.run(whole)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        kill_after(23, patched)
        stage.run(made)
    hurt(state_of(made) / "checkpoints" / "checkpoint-20" / "optimizer.pt", "flipped")
    assert {p.stem for p in (state_of(made) / "best").iterdir()} == {"4", "16"}
    capfd.readouterr()
    stage.run(made)
    said = capfd.readouterr().err
    assert "checkpoint-20 is damaged and passed over: optimizer.pt" in said and "resuming from checkpoint-10" in said
    assert same_weights(whole.out, made.out)
    names = [{p.name: p.read_bytes() for p in (j.out / "checkpoints").glob("*.safetensors")} for j in (whole, made)]
    assert names[0] == names[1] != {}
