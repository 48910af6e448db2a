"""Trainings by two processes that share the processor, over gloo, and what they made."""

import json
import os
import signal
import traceback
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from consomme.common.digest import digest
from consomme.train import launch, rank, stage
from consomme.train.progress import Progress

TWO = {"gpus": 2}
# a plain gradient: Adam makes a step of a gradient that is rounding alone. Dropout is drawn anew by each process
PLAIN = {"optim": "sgd", "learning_rate": 0.1, "dropout": 0.0, "max_steps": 6}


class Forked:
    """A process as `launch.start` gives it, but forked, so that it doesn't import torch once more."""

    def __init__(self, command, environment):
        reads, self.writes = os.pipe()
        self.returncode = None
        self.pid = os.fork()
        if self.pid:
            os.close(reads)
            return
        status = 1
        try:
            os.close(self.writes)
            os.dup2(reads, 0)
            os.environ.clear()
            os.environ.update(environment)
            for number in launch.SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            at = command.index("consomme.train.rank") + 1
            rank.main(Path(command[at]), int(command[at + 1]))
            status = 0
        except SystemExit as ended:
            status = ended.code
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def poll(self):
        if self.returncode is None and (found := os.waitpid(self.pid, os.WNOHANG))[0]:
            self.returncode = os.waitstatus_to_exitcode(found[1])
        return self.returncode

    def wait(self):
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.writes)
        return self.returncode

    def send_signal(self, number):
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def weights(made, file="model.safetensors"):
    return load_file(made.out / file)


def record(made):
    return json.loads((made.out / "provenance.json").read_text())


def logged(made, key="loss"):
    lines = [json.loads(line) for line in (made.out / "progress.jsonl").read_text().splitlines()]
    return [(line["step"], line[key]) for line in lines if key in line]


def checkpoint_of(made):
    folder = made.state / digest(stage.identity(made)) / "work" / "checkpoints"
    return sorted(p.name for p in folder.glob("checkpoint-*"))


def assert_weights_alike(one, two, file="model.safetensors"):
    a, b = weights(one, file), weights(two, file)
    for name in a:
        torch.testing.assert_close(b[name], a[name], rtol=1e-4, atol=1e-6)


def assert_alike(one, two):
    assert_weights_alike(one, two)
    for (step, loss), (same, other) in zip(logged(one), logged(two), strict=True):
        assert step == same and other == pytest.approx(loss, rel=1e-6)


def assert_alike_loosely(one, two):
    """Adam makes a step of the learning rate of a gradient that is rounding alone."""
    a, b = weights(one), weights(two)
    far = [float(((a[n] - b[n]).abs() > 1e-5).float().mean()) for n in a]
    assert max(far) < 0.1 and float(np.mean(far)) < 0.01


def end_at(step, monkeypatch, how=os._exit, who=(0, 1)):
    """Each process of `who` ends after a step."""
    plain = Progress.on_step_end

    def broken(self, args, state, control, **more):
        if state.global_step == step and self.ranks.rank in who:
            how(3)
        plain(self, args, state, control, **more)

    monkeypatch.setattr(Progress, "on_step_end", broken)
