"""Trackers get the figures of the log, and can't fail a training."""

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest

from consomme.train import trackers
from consomme.train.stage import run

WANDB = {"track": "wandb"}
LABEL = {"experiment": "study", "node": "tuned", "run": "seed=1", "replicate": "2"}


class Wandb(ModuleType):
    """Notes what it is given, and raises where it is told to."""

    def __init__(self, fails=""):
        super().__init__("wandb")
        self.fails, self.begun, self.logged, self.ended = fails, [], [], 0

    def init(self, **given):
        if self.fails == "init":
            raise RuntimeError("no API key\nmore words")
        self.begun.append(given)
        return SimpleNamespace(log=self.log, finish=self.finish)

    def log(self, figures, step):
        if self.fails == "log" and self.logged:
            raise ConnectionError("the network is gone")
        self.logged.append((step, figures))

    def finish(self):
        self.ended += 1


@pytest.fixture
def wandb(monkeypatch):
    def put(fails=""):
        made = Wandb(fails)
        monkeypatch.setitem(sys.modules, "wandb", made)
        return made

    monkeypatch.setattr("consomme.train.progress.SECONDS", 0.0)
    return put


def steps(made):
    return [json.loads(line)["step"] for line in (made.out / "progress.jsonl").read_text().splitlines()]


def test_it_gets_the_settings_once_and_every_figure_of_the_log(tmp_path, recogniser, tones, job, wandb):
    there = wandb()
    made = job(tmp_path, recogniser, {"tones": tones}, max_steps=3, execution=WANDB)
    made.spec["label"] = LABEL
    run(made)
    (given,) = there.begun
    assert (given["project"], given["name"]) == ("study", "tuned/seed=1 #2")
    assert given["config"]["learning_rate"] == 3e-3 and "dropout" not in given["config"]
    assert [step for step, _ in there.logged] == steps(made) == [1, 2, 3] and there.ended == 1
    assert {"loss", "learning_rate", "grad_norm"} <= set(there.logged[0][1])
    assert (made.out / "tensorboard").is_dir()


def test_a_resumed_training_goes_on_in_the_same_run(tmp_path, recogniser, tones, job, wandb, killed_at, monkeypatch):
    monkeypatch.setattr("consomme.train.arguments.FEWEST", 2)
    there = wandb()
    made = job(tmp_path, recogniser, {"tones": tones}, max_steps=5, execution=WANDB)
    killed_at(3, made, monkeypatch)
    run(made)
    assert len({given["id"] for given in there.begun}) == 1 and all(given["resume"] == "allow" for given in there.begun)


@pytest.mark.parametrize(("fails", "words"), [("init", "RuntimeError: no API key\n"), ("log", "the network is gone\n")])
def test_one_that_raises_is_switched_off_with_one_line(tmp_path, recogniser, tones, job, wandb, capfd, fails, words):
    there = wandb(fails)
    made = job(tmp_path, recogniser, {"tones": tones}, max_steps=3, execution=WANDB)
    run(made)
    told = capfd.readouterr().err
    assert told.count("track: wandb is switched off, training goes on:") == 1 and words in told
    assert steps(made) == [1, 2, 3] and len(there.logged) == (fails == "log")
    assert (made.out / "tensorboard").is_dir()


def test_one_that_is_not_installed_is_switched_off_too(tmp_path, recogniser, tones, job, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "trackio", None)
    made = job(tmp_path, recogniser, {"tones": tones}, max_steps=1, execution={"track": "trackio"})
    run(made)
    assert "track: trackio is switched off" in capfd.readouterr().err and steps(made) == [1]


def test_tensorboards_files_are_no_exception(tmp_path, recogniser, tones, job, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    run(job(tmp_path, recogniser, {"tones": tones}, max_steps=1))
    assert "track: tensorboard is switched off" in capfd.readouterr().err


def test_settings_by_dotted_key():
    given = {"lora": {"r": 2, "keep": None}, "max_steps": 3, "augment": {}}
    assert trackers.flat(given) == {"lora.r": 2, "max_steps": 3}
