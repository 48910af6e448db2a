"""The profiles for one machine and for Slurm say the same where they mean the same."""

from pathlib import Path

import pytest
import yaml

PROFILES = Path(__file__).resolve().parents[2] / "profiles"


def profile(name):
    return yaml.safe_load((PROFILES / name / "profile.yaml").read_text())


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
