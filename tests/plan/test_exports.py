"""Exports as models of a plan: scored, claimed about, chosen, and nothing else."""

import re

import pytest

from consomme.plan.plan import Plan
from consomme.plan.problems import ConfigurationError

MODELS = "experiments/e/models"
LIMIT = {"b": {"lose_at_most": 5, "of": "healed"}}
LEAST = {"average": ["healed", "out"], "method": "smallest", "size": "bytes", "choose_on": LIMIT}


def test_an_export_is_scored_timed_and_can_be_claimed_about(change):
    claim = {"model": "out", "keeps": "healed", "on": "b", "margin": 1}
    study = Plan(change({"experiments/e/claims": [claim]})).studies["e"]
    assert "out" in {e.model.name for e in study.evaluations}
    assert "out" in {m["name"] for m in study.costs["models"]}
    assert study.claims[0]["model"] == "out"


def test_a_choice_among_exports_has_a_rule_that_promises_no_weights(change):
    plan = Plan(change({f"{MODELS}/least": LEAST}))
    (least,) = (m for m in plan.models.values() if m.node == "least")
    assert least.exported and re.fullmatch(plan.pattern("choice"), least.id)
    assert not re.fullmatch(plan.pattern("average"), least.id)
    plain = Plan(change({f"{MODELS}/least": LEAST | {"average": ["healed", "half"]}}))
    (least,) = (m for m in plain.models.values() if m.node == "least")
    assert not least.exported and re.fullmatch(plain.pattern("average"), least.id)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"more": {"prune": "least", "layers": {"encoder": {"drop": "1/2", "by": "uniform"}}}}, "'least' is an export"),
        ({"least": LEAST | {"metric": "loss"}}, "'out' is an export, which has none; choose by"),
        ({"mean": {"average": ["healed", "out"]}}, "it can be chosen: method: smallest"),
    ],
)
def test_what_can_not_be_made_of_one_is_said(change, more, words):
    with pytest.raises(ConfigurationError, match=words):
        Plan(change({f"{MODELS}/least": LEAST} | {f"{MODELS}/{name}": node for name, node in more.items()}))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"experiments/e/decoding": {"engine": "ctranslate2"}}, "of the family 'ctc', which ctranslate2 can't have"),
        ({"experiments/e/decoding": {"engine": "safetensors"}}, "no engine 'safetensors'"),
    ],
)
def test_an_engine_that_can_not_have_the_family_is_refused(change, settings, words):
    with pytest.raises(ConfigurationError, match=words):
        Plan(change(settings))
