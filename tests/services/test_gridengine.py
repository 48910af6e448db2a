"""The profile `generic` on a real Grid Engine: trainings that reach their time limit, lose their process or their Snakemake."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

GRID_ENGINE = Path(__file__).with_name("gridengine.sh")
DAEMONS = ("sge_qmaster", "sge_execd")
PATIENCE = 1800.0  # seconds, on a busy machine
STEPS = 8000  # longer than a minute
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

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def missing() -> str | None:
    """Why no Grid Engine is started here."""
    if not os.environ.get("CONSOMME_SERVICES"):
        return "starts servers: make test-services"
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    absent = [name for name in (*DAEMONS, "qconf") if shutil.which(name, path=path) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (Debian: gridengine-master, gridengine-exec, gridengine-client)"
    return None if os.geteuid() == 0 else "it runs jobs as root here"


@pytest.fixture(scope="module")
def gridengine(tmp_path_factory) -> Iterator[dict[str, str]]:
    """The variables by which its commands find it."""
    if reason := missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("gridengine")
    try:
        started = subprocess.run(["bash", GRID_ENGINE, "start", folder], stderr=subprocess.PIPE, text=True, timeout=180)
        assert started.returncode == 0, started.stderr
        yield dict(line.split("=", 1) for line in (folder / "environment").read_text().splitlines())
    finally:
        subprocess.run(["bash", GRID_ENGINE, "stop", folder], check=True, timeout=90)


class Training:
    """A clone with a long training, and the command that runs it."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.folder = folder
        (folder / "long.yaml").write_text(LONG)
        scheduler = folder / "profiles" / "generic" / "scheduler.py"
        # files of this machine are visible at once
        text = scheduler.read_text().replace("PATIENCE = 60 ", "PATIENCE = 5 ").replace("HERE = PBS ", "HERE = SGE ")
        scheduler.write_text(text)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        ours = {"PATH": path, "PYTHONPATH": str(folder / "scripts"), "OMP_NUM_THREADS": "1", "CONSOMME_DEVICE": "cpu"}
        self.environment = os.environ | variables | ours

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "consomme", *arguments]
        with (self.folder / "said").open("a") as said:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdout=said,
                stderr=said,
                text=True,
                start_new_session=True,
            )

    def start(self, profile: str, *more: str) -> subprocess.Popen[str]:
        threads = ["--set-threads", "train_model=1", "prepare_corpus=1"]
        return self.command("model", "e/base", "long.yaml", "--profile", profile, "--", *threads, *more)

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    def until(self, true: Callable[[], object], what: str) -> None:
        limit = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < limit, f"{what} did not happen:\n{self.said[-4000:]}"
            time.sleep(0.2)

    def has_saved(self) -> bool:
        return any(self.folder.glob("results/e/state/base-*/*/work/checkpoints/checkpoint-*"))

    def ended(self, process: subprocess.Popen[str]) -> None:
        assert process.wait(PATIENCE) == 0, self.said[-4000:]

    @property
    def attempts(self) -> str:
        (path,) = self.folder.glob("results/e/logs/train/base-*.log.attempts")
        return path.read_text()

    @property
    def weights(self) -> bytes:
        (path,) = self.folder.glob("results/e/models/base-*/model.safetensors")
        return path.read_bytes()

    def process(self) -> int:
        """Of the training."""
        for path in Path("/proc").glob("[0-9]*"):
            try:
                words = (path / "cmdline").read_bytes().split(b"\0")
                if b"consomme.train" in words and (path / "cwd").resolve() == self.folder.resolve():
                    return int(path.name)
            except OSError:
                continue
        return 0

    def snakemake(self, process: subprocess.Popen[str]) -> int:
        """The process that `consomme` has started."""
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return int(child)

    def queued(self) -> str:
        return subprocess.run(["qstat"], env=self.environment, capture_output=True, text=True).stdout


@pytest.fixture
def training(gridengine, tmp_path, cloned) -> Training:
    return Training(cloned(tmp_path), gridengine)


@pytest.fixture(scope="module")
def undisturbed(gridengine, tmp_path_factory, cloned) -> bytes:
    alone = Training(cloned(tmp_path_factory.mktemp("undisturbed")), gridengine)
    alone.ended(alone.start("local"))
    return alone.weights


def test_a_time_limit_shorter_than_the_training(training, undisturbed):
    """SIGUSR1 comes after one minute, the end after three: it saves, is submitted again, and ends with the same weights."""
    training.ended(training.start("generic", "--retries", "60", "--set-resources", "train_model:runtime=3"))
    saved = re.findall(r"interrupted by SIGUSR1: saved at step (\d+) of", training.attempts)
    assert saved and all(f"resuming from checkpoint-{step}\n" in training.attempts for step in saved)
    assert training.weights == undisturbed


def test_a_training_that_is_killed_is_submitted_again(training, undisturbed):
    process = training.start("generic")
    training.until(training.has_saved, "a checkpoint")
    os.kill(training.process(), signal.SIGKILL)
    training.ended(process)
    assert training.attempts.count(" begun 20") == 2 and "resuming from checkpoint-" in training.attempts
    assert training.weights == undisturbed


def test_a_job_whose_snakemake_was_killed_goes_on_and_the_next_one_takes_its_result(training, undisturbed):
    process = training.start("generic")
    training.until(training.has_saved, "a checkpoint")
    os.kill(training.snakemake(process), signal.SIGKILL)
    assert process.wait(PATIENCE) != 0
    training.ended(training.command("run", "long.yaml", "--profile", "generic", "--", "--unlock"))
    assert training.process(), "the job was cancelled"
    training.ended(training.start("generic"))
    assert training.attempts.count(" begun 20") == 1 and training.weights == undisturbed


def test_an_interrupt_cancels_the_job(training):
    process = training.start("generic")
    training.until(training.has_saved, "a checkpoint")
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE) != 0
    training.until(lambda: "train-mode" not in training.queued() and not training.process(), "the end of the job")
