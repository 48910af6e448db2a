"""The profiles say the same where they mean the same, name every rule that needs more than a core, and Snakemake reads them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
PROFILES = REPOSITORY / "profiles"
LINKED = ("aws-batch", "azure-batch", "google-batch", "kubernetes")  # to the generic profile
ON_NODES = "train_model_on_nodes"  # only Slurm gives several
# rules whose jobs are content with what jobs without an entry get
LIGHT = {"start_model", "ensemble_models", "choose_export", "export_model", "report_experiment", "prepare_from_parts"}


def profile(name):
    return yaml.safe_load((PROFILES / name / "profile.yaml").read_text())


def rules():
    """The rules that start jobs."""
    found = set()
    for path in (REPOSITORY / "rules").glob("*.smk"):
        for block in re.split(r"(?m)^(?=(?:use )?rule )", path.read_text()):
            if derived := re.match(r"use rule \w+ as (\w+)", block):
                found.add(derived[1])
            elif (named := re.match(r"rule (\w+)", block)) and "    shell:" in block:
                found.add(named[1])
    return found


def of_any_scheduler(settings):
    """A profile without what is Slurm's or another scheduler's alone."""
    kept = {k: v for k, v in settings.items() if k != "executor" and not k.startswith(("slurm-", "cluster-generic-"))}
    return _without(kept)


def _without(settings):
    return {
        key: _without(value) if isinstance(value, dict) else value
        for key, value in settings.items()
        if not str(key).startswith("slurm_") and key != ON_NODES
    }


def test_one_gpu_is_used_by_the_rules_that_ask_slurm_for_one_and_by_one_job_at_a_time():
    here, slurm = profile("gpu"), profile("slurm")
    assert {rule for rule, wanted in here["set-resources"].items() if wanted == {"gpu": 1}} == {
        rule for rule, wanted in slurm["set-resources"].items() if wanted.get("gpu")
    }
    assert here["resources"] == ["gpu=1"]


@pytest.mark.parametrize(
    ("one", "other", "own"),
    [("gpu", "local", {"resources", "set-resources", "set-threads"}), ("cluster", "slurm", set())],
)
def test_what_a_profile_does_not_have_of_its_own_is_the_other_ones(one, other, own):
    assert {k: v for k, v in profile(one).items() if k not in own} == profile(other)


def test_other_schedulers_are_asked_for_what_slurm_is_asked_for():
    assert of_any_scheduler(profile("generic")) == of_any_scheduler(profile("slurm"))


@pytest.mark.parametrize("name", LINKED)
def test_linked_profiles_have_commands_of_their_own(name):
    assert (PROFILES / name / "profile.yaml").resolve() == PROFILES / "generic" / "profile.yaml"
    for command in ("submit", "status", "cancel"):
        assert (PROFILES / name / command).resolve() == PROFILES / name / "scheduler.py"
        assert profile(name)[f"cluster-generic-{command}-cmd"] == command


def test_every_rule_has_an_entry_or_is_light():
    """A rule that is added later would get one core, no GPU and the memory of a small job."""
    slurm = profile("slurm")
    named = set(slurm["set-resources"]) | set(slurm["set-threads"])
    assert named <= rules() and rules() - named == LIGHT


@pytest.mark.workflow
@pytest.mark.parametrize("name", ["slurm", "generic"])
def test_a_training_on_four_gpus_asks_for_four_though_a_group_of_evaluations_has_one(tmp_path, name):
    (tmp_path / "Snakefile").write_text(
        "rule train_model_on_gpus:\n    output: 'model'\n    resources: gpu=4, nodes=1\n    shell: 'true'\n"
    )
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--profile", str(PROFILES / name)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    (asked,) = re.findall(r"^    resources: (.*)$", done.stdout + done.stderr, re.M)
    assert {"gpu=4", "nodes=1", "mem_mb=128000", "runtime=1440"} <= set(asked.split(", "))
