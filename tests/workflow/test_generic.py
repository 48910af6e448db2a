"""The profile `generic` with a stand-in for PBS: jobs are submitted, watched, submitted again when they are lost, and cancelled."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
STAND_IN = Path(__file__).with_name("pbs.py")
TINY = Path(__file__).with_name("tiny.yaml")
CORPORA = 3  # of TINY
PATIENCE = 120.0  # seconds, on a busy machine

pytestmark = pytest.mark.workflow


class Cluster:
    """A folder with the profile, and one with the stand-in's commands."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.commands = folder / "work", folder / "pbs"
        self.folder.mkdir()
        self.commands.mkdir()
        for name in ("qsub", "qstat", "qdel"):
            (self.commands / name).symlink_to(STAND_IN)
        self.profile = folder / "profile"
        shutil.copytree(REPOSITORY / "profiles" / "generic", self.profile, symlinks=True)
        text = (self.profile / "scheduler.py").read_text()
        # files of this machine are visible at once
        (self.profile / "scheduler.py").write_text(text.replace("PATIENCE = 60 ", "PATIENCE = 1 "))

    def start(self, *targets: str, snakefile: Path = REPOSITORY / "Snakefile") -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), *targets]
        command += ["--profile", str(self.profile), "--configfile", str(TINY), "--jobs", "3"]
        command += ["--seconds-between-status-checks", "1"]
        path = os.pathsep.join([str(self.commands), str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = os.environ | {"PATH": path, "CONSOMME_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
        with (self.folder / "said").open("w") as said:
            return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=said, stderr=said, text=True)

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    def asked(self, command: str) -> list[list[str]]:
        """The arguments of each call of a command of the stand-in."""
        file = self.commands / "asked"
        calls = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [arguments for called, *arguments in calls if called == command]

    def jobs(self) -> dict[str, int]:
        """The process of each job that was started."""
        return {p.name: int(p.read_text()) for p in self.commands.glob("*.pbs") if p.stat().st_size}

    def until(self, true: Callable[[], object], what: str) -> None:
        limit = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < limit, f"{what} did not happen:\n{self.said}"
            time.sleep(0.1)


@pytest.fixture
def cluster(tmp_path) -> Cluster:
    return Cluster(tmp_path)


def running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_a_job_that_is_killed_is_submitted_again_with_more_memory_and_nothing_is_left_to_do(cluster):
    snakemake = cluster.start("corpora")
    cluster.until(cluster.jobs, "a submission")
    os.killpg(next(iter(cluster.jobs().values())), signal.SIGKILL)
    assert snakemake.wait(PATIENCE) == 0, cluster.said
    assert len(list(cluster.folder.glob("results/prepared/*/prepared.json"))) == CORPORA
    chunks = [call[call.index("-l") + 1] for call in cluster.asked("qsub")]
    assert sorted(chunks) == ["select=1:ncpus=8:mem=16000mb"] + ["select=1:ncpus=8:mem=8000mb"] * CORPORA
    assert cluster.asked("qdel") == []
    assert cluster.start("corpora").wait(PATIENCE) == 0 and "Nothing to be done" in cluster.said


@pytest.mark.slow
def test_an_interrupt_cancels_the_jobs(cluster):
    (cluster.commands / "hold").touch()
    snakemake = cluster.start("corpora")
    cluster.until(lambda: len(cluster.jobs()) == CORPORA and cluster.asked("qstat"), "three submissions")
    snakemake.send_signal(signal.SIGINT)
    assert snakemake.wait(PATIENCE) != 0
    cluster.until(lambda: cluster.asked("qdel"), "a cancellation")
    cluster.until(lambda: {n for call in cluster.asked("qdel") for n in call} == set(cluster.jobs()), "one of all")
    cluster.until(lambda: not any(map(running, cluster.jobs().values())), "the end of the jobs")


GROUPED = """
rule all:
    default_target: True
    input: expand("times/{n}", n=range(8))
rule evaluate_model:
    output: "times/{n}"
    threads: 1
    shell: "date +%s.%N > {output}; sleep 0.2; date +%s.%N >> {output}"
"""


@pytest.mark.slow
def test_eight_evaluations_share_a_job_and_its_gpu_one_after_the_other(cluster):
    (cluster.folder / "Snakefile").write_text(GROUPED)
    assert cluster.start(snakefile=cluster.folder / "Snakefile").wait(PATIENCE) == 0, cluster.said
    (call,) = cluster.asked("qsub")
    assert "select=1:ncpus=4:mem=16000mb:ngpus=1" in call and "walltime=0:480:0" in call
    times = sorted(tuple(map(float, path.read_text().split())) for path in cluster.folder.glob("times/*"))
    assert len(times) == 8 and all(end <= begun for (_, end), (begun, _) in itertools.pairwise(times))


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("CONSOMME_SERVICES"), reason="takes minutes: make test-services")
def test_every_verb_and_a_second_run_has_nothing_to_do(cluster):
    assert cluster.start().wait(1800) == 0, cluster.said
    assert (cluster.folder / "results/tiny/summary.md").is_file()
    wanted = [call[call.index("-l") + 1] for call in cluster.asked("qsub")]
    assert "select=1:ncpus=8:mem=32000mb:ngpus=1" in wanted
    submitted = len(cluster.asked("qsub"))
    assert cluster.start().wait(PATIENCE) == 0 and "Nothing to be done" in cluster.said
    assert len(cluster.asked("qsub")) == submitted
