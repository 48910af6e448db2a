"""The cluster profile on a real Slurm: a clean clone, its own profile, jobs submitted, watched, and done once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from consomme.plan.load import read
from consomme.plan.plan import Plan

REPOSITORY = Path(__file__).parents[2]
NODE = "tiny/soup"  # training and averaging; the other verbs take the same road


pytestmark = [pytest.mark.workflow, pytest.mark.slow]


@pytest.fixture(scope="module")
def clone(tmp_path_factory, cloned) -> Path:
    folder = cloned(tmp_path_factory.mktemp("clone"))
    shutil.copy2(REPOSITORY / "tests" / "workflow" / "tiny.yaml", folder / "tiny.yaml")
    return folder


def run(folder: Path, targets: list[str]) -> str:
    """`snakemake --profile cluster`; only what saves time and processors differs from what a user types."""
    command = [sys.executable, "-m", "snakemake", *targets, "--profile", "cluster", "--configfile", "tiny.yaml"]
    command += ["--latency-wait", "10", "--jobs", "3"]
    command += ["--set-threads", "prepare_corpus=1", "train_model=1", "measure_costs=1"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SNAKEMAKE_"))}
    environment |= {"PATH": path, "CONSOMME_DEVICE": "cpu"}  # the GPUs are stand-ins
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def submitted(said: str) -> list[str]:
    """The numbers of the jobs that Snakemake says it has submitted."""
    return sorted(set(re.findall(r"submitted with SLURM jobid '?(\d+)", said)), key=int)


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
    assert (
        sorted(map(ended, submitted(said))) == [("COMPLETED", "cpu", "")] * 3 + [("COMPLETED", "gpu", "gres:gpu:1")] * 4
    )
    assert targets and all((clone / target).is_file() for target in targets)

    again = run(clone, targets)
    assert "Nothing to be done" in again and "submitted" not in again


def test_evaluations_share_a_job_and_a_gpu_and_have_logs_of_their_own(slurm, clone):
    plan = Plan(read([clone / "tiny.yaml"]))
    wanted = [e for e in plan.evaluations.values() if e.model.stage == "train" and e.model.node != "healed"]
    assert len(wanted) == 3
    said = run(clone, [e.path for e in wanted])

    found = [ended(job) for job in submitted(said)]
    assert [job for job in found if job[1] == "gpu"][-1] == ("COMPLETED", "gpu", "gres:gpu:1")
    listed = subprocess.run(["scontrol", "--oneliner", "show", "job"], capture_output=True, text=True).stdout
    assert sum("evaluate_model" in line or "evaluations" in line for line in listed.splitlines()) == 1
    logs = [clone / f"results/tiny/logs/evaluate/{e.model.id}.{e.digest}.log" for e in wanted]
    assert all("hypotheses" in log.read_text() for log in logs) and all((clone / e.path).is_file() for e in wanted)
