"""A training that Slurm ends, requeues or loses goes on from what it saved, and ends with the undisturbed run's weights."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ..clones import environment

pytestmark = [pytest.mark.workflow, pytest.mark.slow]
PATIENCE = 1800.0  # seconds, on a busy machine
ON_PROCESSOR = {"CONSOMME_DEVICE": "cpu"}  # the GPUs are stand-ins
STEPS = 8000  # longer than a time limit of a minute
LONG = f"""
corpora:
  train: {{source: generated, generator: dosage, domain: general, size: 40}}
  dev:   {{source: generated, generator: dosage, domain: general, split: dev, size: 5}}
experiments:
  e:
    task: nmt
    languages: [en, fr]
    data: {{train: train, dev: {{d: dev}}}}
    models:
      untrained:
        from:
          scratch: {{family: marian, encoder_layers: 1, decoder_layers: 1, d_model: 16, encoder_attention_heads: 2, decoder_attention_heads: 2, encoder_ffn_dim: 16, decoder_ffn_dim: 16}}
          tokenizer: {{vocab_size: 120}}
      base: {{train: untrained, max_steps: {STEPS}, per_device_train_batch_size: 4, save_minutes: 0.05}}
"""


def started(folder: Path, profile: str, *more: str) -> subprocess.Popen[str]:
    """`consomme model e/base`, which says what it does in the file `said`."""
    command = [sys.executable, "-m", "consomme", "model", "e/base", "long.yaml", "--profile", profile, "--"]
    command += ["--set-threads", "train_model=1", "prepare_corpus=1", *more]
    with (folder / "said").open("a") as said:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment(folder) | ON_PROCESSOR,
            stdout=said,
            stderr=subprocess.STDOUT,
            text=True,
        )


def until(true: Callable[[], object], what: str, folder: Path) -> None:
    limit = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < limit, f"{what} did not happen:\n{(folder / 'said').read_text()[-4000:]}"
        time.sleep(0.2)


def ended(process: subprocess.Popen[str], folder: Path) -> None:
    assert process.wait(PATIENCE) == 0, (folder / "said").read_text()[-4000:]


def weights(folder: Path) -> bytes:
    (path,) = folder.glob("results/e/models/base-*/model.safetensors")
    return path.read_bytes()


def attempts(folder: Path) -> str:
    (path,) = folder.glob("results/e/logs/train/base-*.log.attempts")
    return path.read_text()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, cloned) -> bytes:
    folder = cloned(tmp_path_factory.mktemp("undisturbed"))
    (folder / "long.yaml").write_text(LONG)
    ended(started(folder, "local"), folder)
    return weights(folder)


# -- disturbances ------------------------------------------------------------------------------------------------------
def training_job() -> str:
    """The number of the running job that trains."""
    listed = subprocess.run(["squeue", "--noheader", "--format=%i %T %k"], capture_output=True, text=True).stdout
    found = [line.split()[0] for line in listed.splitlines() if "RUNNING" in line and "train_model" in line]
    return found[0] if found else ""


def training_process(folder: Path) -> int:
    """The process number of the training of this folder."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().split(b"\0")
            if b"consomme.train" in command and (path / "cwd").resolve() == folder.resolve():
                return int(path.name)
        except OSError:
            continue
    return 0


def asked_to_end(folder: Path, snakemake: subprocess.Popen[str]) -> subprocess.Popen[str]:
    """As a preemption with a grace time asks: SIGTERM to everything in the job's step."""
    subprocess.run(["scancel", "--signal=TERM", training_job()], check=True)
    return snakemake


def requeued(folder: Path, snakemake: subprocess.Popen[str]) -> subprocess.Popen[str]:
    subprocess.run(["scontrol", "requeue", training_job()], check=True)
    return snakemake


def killed(folder: Path, snakemake: subprocess.Popen[str]) -> subprocess.Popen[str]:
    os.kill(training_process(folder), signal.SIGKILL)
    return snakemake


def without_its_snakemake(folder: Path, snakemake: subprocess.Popen[str]) -> subprocess.Popen[str]:
    """Snakemake is killed, the lock that it left is taken away as `consomme` says, its job is asked to end."""
    (head,) = (
        int(path.name)
        for path in Path("/proc").glob("[0-9]*")
        if (path / "stat").exists() and int((path / "stat").read_text().rpartition(")")[2].split()[1]) == snakemake.pid
    )
    job = training_job()
    os.kill(head, signal.SIGKILL)
    snakemake.wait(60)
    refused = started(folder, "slurm")
    assert refused.wait(PATIENCE) != 0
    advice = re.findall(r"take the lock away and start again: consomme (run .*)", (folder / "said").read_text())
    subprocess.run(
        [sys.executable, "-m", "consomme", *advice[-1].split()],
        cwd=folder,
        env=environment(folder) | ON_PROCESSOR,
        check=True,
    )
    subprocess.run(["scancel", "--signal=TERM", job], check=True)
    return started(folder, "slurm")


@pytest.mark.parametrize("disturbed", [asked_to_end, requeued, killed, without_its_snakemake])
def test_a_training_that_is_disturbed_ends_with_the_same_weights(
    slurm, tmp_path, cloned, undisturbed, disturbed: Callable[[Path, subprocess.Popen[str]], subprocess.Popen[str]]
):
    folder = cloned(tmp_path)
    (folder / "long.yaml").write_text(LONG)
    process = started(folder, "slurm")
    until(lambda: list(folder.glob("results/e/state/base-*/*/work/checkpoints/checkpoint-*")), "a checkpoint", folder)
    process = disturbed(folder, process)
    ended(process, folder)
    said = attempts(folder)
    assert said.count(" begun 20") == 2 and "resuming from checkpoint-" in said
    if disturbed is asked_to_end:
        (saved,) = re.findall(r"interrupted by SIGTERM: saved at step (\d+) of", said)
        assert f"resuming from checkpoint-{saved}\n" in said
    assert weights(folder) == undisturbed


def test_a_time_limit_shorter_than_the_training(slurm, tmp_path, cloned, undisturbed):
    folder = cloned(tmp_path)
    (folder / "long.yaml").write_text(LONG)
    # Slurm's signal comes within a minute of the time that is asked for
    limit = ["train_model:runtime=1", "train_model:slurm_extra='--signal=TERM@20'"]
    ended(started(folder, "slurm", "--retries", "9", "--set-resources", *limit), folder)
    said = attempts(folder)
    saved = re.findall(r"interrupted by SIGTERM: saved at step (\d+) of", said)
    assert saved and all(f"resuming from checkpoint-{step}\n" in said for step in saved)
    assert weights(folder) == undisturbed
    listed = subprocess.run(["scontrol", "--oneliner", "show", "job"], capture_output=True, text=True).stdout
    assert "gres:gpu:1" in listed  # what is given on the command line is laid over the profile
