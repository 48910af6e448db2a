"""The cluster profile on a real Slurm: a clean clone, its own profile, jobs submitted, watched, and done once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SLURM = Path(__file__).with_name("slurm.sh")
DAEMONS = ("munged", "slurmctld", "slurmd")
STANDARD = Path("/etc/slurm/slurm.conf")  # where a job step's srun looks, and nowhere else
NODE = "tiny/soup"  # training and averaging; the other verbs take the same road


def missing() -> str | None:
    """Why no Slurm is started here."""
    if not os.environ.get("CONSOMME_SERVICES"):
        return "starts servers: make test-services"
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    absent = [name for name in (*DAEMONS, "sbatch") if shutil.which(name, path=path) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (Debian: slurm-wlm, munge)"
    if os.geteuid() != 0:
        return "slurmd has to run as root"
    if STANDARD.exists():
        return f"{STANDARD} is there already: this machine has a Slurm of its own"
    return None


REASON = missing()
pytestmark = [
    pytest.mark.workflow,
    pytest.mark.slow,
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("slurm")
    try:
        started = subprocess.run(["bash", SLURM, "start", folder], stderr=subprocess.PIPE, text=True, timeout=60)
        assert started.returncode == 0, started.stderr
        yield
    finally:
        subprocess.run(["bash", SLURM, "stop", folder], check=True, timeout=90)


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """The workflow as it stands, and nothing else: no results, no environment, the link `cluster` a link."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("Snakefile", "rules", "scripts", "config", "envs", "profiles", "cluster"):
        source = REPOSITORY / name
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name, follow_symlinks=False)
    shutil.copy2(REPOSITORY / "tests" / "workflow" / "tiny.yaml", folder / "tiny.yaml")
    return folder


def run(folder: Path, targets: list[str]) -> str:
    """`snakemake --profile cluster`; only what saves time and processors differs from what a user types."""
    command = [sys.executable, "-m", "snakemake", *targets, "--profile", "cluster", "--configfile", "tiny.yaml"]
    command += ["--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "10", "--jobs", "3"]
    command += ["--set-threads", "prepare_corpus=1", "train_model=1", "measure_costs=1"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SNAKEMAKE_"))} | {"PATH": path}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def ended(job: str) -> tuple[str, str, str]:
    """State, partition and GPUs of a job, asked of Slurm itself."""
    told = subprocess.run(["scontrol", "--oneliner", "show", "job", job], capture_output=True, text=True, check=True)
    fields = dict(field.split("=", 1) for field in told.stdout.split() if "=" in field)
    return fields["JobState"], fields["Partition"], fields.get("TresPerJob", "")


def test_the_cluster_profile_runs_every_job_through_slurm_and_a_second_run_has_nothing_to_do(slurm, clone):
    plan = [sys.executable, "-m", "consomme.plan", "tiny.yaml", "--targets", NODE]
    environment = os.environ | {"PYTHONPATH": str(clone / "scripts")}
    found = subprocess.run(plan, cwd=clone, env=environment, capture_output=True, text=True, check=True)
    targets = found.stdout.split()
    said = run(clone, targets)

    # two corpora, a start, a base, two runs, their soup; only the last four need a GPU
    assert re.findall(r"^total +(\d+)", said, flags=re.MULTILINE)[0] == "7"
    assert "7 of 7 steps (100%) done" in said
    jobs = sorted(set(re.findall(r"has been submitted with SLURM jobid (\d+)", said)), key=int)
    assert sorted(map(ended, jobs)) == [("COMPLETED", "cpu", "")] * 3 + [("COMPLETED", "gpu", "gres:gpu:1")] * 4
    assert targets and all((clone / target).is_file() for target in targets)

    again = run(clone, targets)
    assert "Nothing to be done" in again and "submitted" not in again
