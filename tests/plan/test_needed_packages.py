"""Packages that only some settings need: said by the plan, before any job."""

import pytest

from consomme.common import extras
from consomme.plan import look
from consomme.plan.plan import Plan
from consomme.plan.problems import ConfigurationError


@pytest.fixture
def absent(monkeypatch):
    plain = extras.installed
    monkeypatch.setattr(extras, "installed", lambda extra: extra not in ("bitsandbytes", "wandb") and plain(extra))


def test_an_optimizer_without_its_package_stops_a_run_once_for_each_node(change, absent):
    plan = Plan(change({"experiments.e.models.tuned.optim": "adamw_8bit"}))
    with pytest.raises(ConfigurationError) as error:
        plan.need_sources()
    line = "experiments.e.models.tuned.optim: 'adamw_8bit' needs the package bitsandbytes: pip install -e '.[bitsandbytes]'"
    assert str(error.value).splitlines()[0] == line and "optim" not in str(error.value).split(line)[1]


def test_a_tracker_without_its_package_is_a_caution(change, absent, capsys):
    plan = Plan(change({"experiments.e.models.tuned.track": "wandb"}))
    plan.need_sources()
    look.overview(plan)
    assert (
        "experiments.e.models.tuned.track: wandb isn't installed (pip install -e '.[wandb]'); without it the training goes "
        "on untracked" in capsys.readouterr().out
    )
