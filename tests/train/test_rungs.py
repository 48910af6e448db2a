"""A run of a sweep that stops runs early: in rungs it is the same training as in one piece."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from consomme.common.digest import digest
from consomme.train import stage

OPTIONS = {"max_steps": 16, "lr_scheduler_type": "cosine", "warmup_steps": 4, "encoder_layerdrop": 0.3}
OPTIONS |= {
    "augment": {"spec_augment": {"time_masks": 1, "time_width": 0.2, "frequency_masks": 1, "frequency_width": 4}}
}


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def record(folder):
    return json.loads((folder / "provenance.json").read_text())


def at_rung(plain, step, place, before=None, choice=None):
    """The job of the run at a rung; step None: at the last. Its digest is that of the whole run for the last rung."""
    known = f"{plain.spec['digest']}{step or ''}"
    spec = plain.spec | {"digest": known, "label": {"node": "tuned"}} | ({"until": step} if step else {})
    inputs = dict(plain.inputs)
    if before:
        inputs |= {"rung/tuned/a": before, "choice/tuned/best": choice}
    out = place / f"tuned-{step}"
    made = replace(plain, spec=spec | {"inputs": list(inputs)}, inputs=inputs, out=out)
    # the folder that a rule gives has the digest of the choices in its name, too
    return replace(made, state=place / "state" / f"tuned-{known}{'-chosen' if before else ''}")


def choose(folder, ranked, keep):
    """What a choice at a rung leaves; ranked: digests of the runs, the best first."""
    folder.mkdir(parents=True)
    runs = [{"digest": one, "run": one, "score": 10.0 + i} for i, one in enumerate(ranked)]
    chosen = {"metric": "loss", "keep": keep, "ranked": runs}
    (folder / "provenance.json").write_text(json.dumps({"chosen": chosen}))
    return folder


def train(made):
    stage.run(made)
    return made.out


@pytest.fixture(scope="module")
def plain(place, recogniser, tones, job):
    """The whole run in one piece; its batches of 10 make epochs of 5 steps."""
    return job(place / "one-piece", recogniser, {"tones": tones}, per_device_train_batch_size=10, **OPTIONS)


@pytest.fixture(scope="module")
def whole(plain):
    """Its weights."""
    return weights(train(plain))


@pytest.fixture(scope="module")
def once(plain, tmp_path_factory):
    """Where the run is trained to step 7."""
    folder = tmp_path_factory.mktemp("rungs")
    train(at_rung(plain, 7, folder))
    return folder


@pytest.fixture
def first(plain, once, tmp_path):
    """The run at step 7, as in `once`."""
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    return at_rung(plain, 7, tmp_path)


def test_in_rungs_it_is_bit_identical_to_one_piece(plain, whole, first, tmp_path, capfd):
    assert record(first.out)["steps"] == 7 and weights(first.out) != whole
    # the second rung is at the end of an epoch
    second = at_rung(plain, 10, tmp_path, first.out, choose(tmp_path / "one", [first.spec["digest"]], 1))
    train(second)
    last = at_rung(plain, None, tmp_path, second.out, choose(tmp_path / "two", [second.spec["digest"]], 1))
    capfd.readouterr()
    assert weights(train(last)) == whole
    assert "resuming from checkpoint-10" in capfd.readouterr().err
    lines = [json.loads(line)["step"] for line in (last.out / "progress.jsonl").read_text().splitlines()]
    assert lines == sorted(lines) and set(lines) >= {7, 10, 16}


def test_the_state_of_a_rung_is_not_needed_for_the_result(plain, whole, first, tmp_path, capfd):
    shutil.rmtree(first.state)
    last = at_rung(plain, None, tmp_path, first.out, choose(tmp_path / "one", [first.spec["digest"]], 1))
    capfd.readouterr()
    assert weights(train(last)) == whole
    assert "trains from its start" in capfd.readouterr().err


def test_a_training_killed_at_its_rung_takes_no_step_too_many(plain, once, tmp_path, monkeypatch):
    def killed(*given):
        raise KeyboardInterrupt

    again = at_rung(plain, 7, tmp_path)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(stage, "save", killed)
        stage.run(again)
    assert weights(train(again)) == weights(once / "tuned-7") and record(again.out)["steps"] == 7


def test_a_start_killed_while_it_brought_the_state_changes_nothing(plain, tmp_path, monkeypatch):
    first = at_rung(plain, 7, tmp_path)
    train(first)
    (kept,) = first.state.rglob("checkpoint-7")
    os.link(kept / "model.safetensors", kept.parent / "weights-5.safetensors")  # for the case that it diverges
    last = at_rung(plain, None, tmp_path, first.out, choose(tmp_path / "one", [first.spec["digest"]], 1))

    def killed(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "rename", killed)
        stage.run(last)
    assert list((tmp_path / "state").rglob("weights-5.safetensors"))[1:]
    assert weights(train(last)) == weights(train(plain))


def test_a_run_that_is_not_chosen_stays_what_it_was(plain, first, tmp_path, capfd):
    chosen = choose(tmp_path / "one", ["another", first.spec["digest"], "third"], 1)
    second = at_rung(plain, 10, tmp_path, first.out, chosen)
    train(second)
    # at a rung after that it isn't among the runs that are compared
    last = at_rung(plain, None, tmp_path, second.out, choose(tmp_path / "two", ["another"], 1))
    capfd.readouterr()
    train(last)
    assert "stopped at step 7: number 2 of 3 runs by loss, of which 1 went on" in capfd.readouterr().err
    assert weights(last.out) == weights(first.out)
    stopped = {"step": 7, "rank": 2, "of": 3, "keep": 1, "metric": "loss", "score": 11.0}
    assert [record(out)["stopped"] for out in (second.out, last.out)] == [stopped, stopped]
    assert record(last.out)["digest"] == last.spec["digest"] and "stopped" not in record(first.out)


def test_a_diverged_run_stays_diverged(tmp_path, recogniser, tones, job):
    plain = job(tmp_path / "whole", recogniser, {"tones": tones}, **OPTIONS | {"max_loss": 1e-3})
    first = at_rung(plain, 7, tmp_path)
    train(first)
    last = at_rung(plain, None, tmp_path, first.out, choose(tmp_path / "one", ["another"], 1))
    train(last)
    assert record(last.out)["diverged"] == record(first.out)["diverged"] and "stopped" not in record(last.out)


def test_who_else_takes_part_changes_nothing_that_is_computed(plain, first, tmp_path, capfd):
    """Another choice that lets the run go on, too, finds it trained."""
    last = at_rung(plain, None, tmp_path, first.out, choose(tmp_path / "one", [first.spec["digest"]], 1))
    train(last)
    again = replace(
        last, inputs=last.inputs | {"choice/tuned/best": choose(tmp_path / "two", ["new", first.spec["digest"]], 2)}
    )
    again = replace(again, out=tmp_path / "again")
    capfd.readouterr()
    train(again)
    assert "found, nothing to compute" in capfd.readouterr().err
    assert digest(record(again.out)) == digest(record(last.out))
