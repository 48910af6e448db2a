"""What a job's shell does with the signals that ask for an end, which may reach all of its processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RULES = (Path(__file__).parents[2] / "rules/common.smk").read_text(encoding="utf-8")
JOB = """
import signal, sys, time
def save(number, frame):
    time.sleep(0.3)
    print("saved", number, flush=True)
    sys.exit(75)
print("begun", flush=True)
if sys.argv[1] == "saves":
    signal.signal(signal.SIGINT, save)
    signal.signal(signal.SIGTERM, save)
    print("ready", flush=True)
time.sleep(100)
"""


def training(tmp_path: Path, how: str) -> subprocess.Popen[bytes]:
    """A job that stands for a training, in the shell of its rule."""
    (tmp_path / "job.py").write_text(JOB)
    (opened,) = re.findall(r'^SAVING = "(.*)"$', RULES, re.MULTILINE)
    (closed,) = re.findall(r'^LOGGED_EACH = "(.*)"$', RULES, re.MULTILINE)
    shell = (opened + f"{sys.executable} job.py {how}" + closed).replace("{log:q}", "log")
    command = "set -euo pipefail; " + shell.replace("{{", "{").replace("}}", "}")
    return subprocess.Popen(["bash", "-c", command], cwd=tmp_path, start_new_session=True, stdout=subprocess.DEVNULL)


def said(tmp_path: Path, word: str) -> str:
    """The log, once it has this word."""
    until = time.monotonic() + 60
    while word not in (text := _text(tmp_path / "log")) and time.monotonic() < until:
        time.sleep(0.01)
    return text


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_training_saves_and_its_log_says_so(tmp_path, number):
    job = training(tmp_path, "saves")
    said(tmp_path, "ready")
    os.killpg(job.pid, number)
    assert job.wait(60) == 75
    assert said(tmp_path, "saved").splitlines()[-1] == f"saved {int(number)}"
    assert (tmp_path / "log").read_text() == (tmp_path / "log.attempts").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_has_just_been_started_hears_it_too(tmp_path, number):
    job = training(tmp_path, "waits")
    said(tmp_path, "begun")
    began = time.monotonic()
    os.killpg(job.pid, number)
    assert job.wait(60) not in (0, None) and time.monotonic() - began < 60
