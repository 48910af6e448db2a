"""Sealed test sets: what is planned before and after their seal is broken."""

from pathlib import Path

import pytest

from consomme.plan.plan import Plan
from consomme.plan.problems import ConfigurationError
from consomme.plan.unseal import unseal
from consomme.register import chain

TEST = "experiments/e/data/test"
SEALED = {"experiments/e/sealed": ["b"]}
REGISTER = Path("results/e") / chain.NAME


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def specs(plan):
    return {path: evaluation.spec for path, evaluation in plan.evaluations.items()}


def decoded(plan, name="b"):
    """The models that are decoded on a test set."""
    return {e.model.name for e in plan.evaluations.values() if name in e.settings["sets"]["test"]}


def made(plan):
    for model in plan.models.values():
        Path(model.marker).parent.mkdir(parents=True, exist_ok=True)
        Path(model.marker).write_text("{}")


def test_until_then_all_is_as_if_the_set_were_not_there(change):
    without = Plan(change({TEST: {"a": "a-test"}, "experiments/e/claims": []}))
    sealed = Plan(change(SEALED))
    assert specs(sealed) == specs(without) and decoded(sealed) == set()
    assert {m: x.spec for m, x in sealed.models.items()} == {m: x.spec for m, x in without.models.items()}
    report = sealed.studies["e"].report
    assert report["sets"][""]["test"] == {"a": ["a-test"]} and report["claims"] == []
    assert [claim["on"] for claim in report["register"]["claims"]] == ["b", "b"]


def test_opened_it_is_decoded_by_the_models_of_its_claims_alone(change, capsys):
    raw = change({**SEALED, "experiments/e/repeat": [1, 2]})
    made(Plan(raw))
    assert unseal(Plan(raw), "e", Path())
    assert capsys.readouterr().out == "e: b is opened for soup, tuned/best, healed, line\n"
    after = Plan(raw)
    assert decoded(after) == {"soup", "tuned/best", "healed", "line"}
    assert {e.model.replicate for e in after.evaluations.values() if "b" in e.settings["sets"]["test"]} == {"1", "2"}
    report = after.studies["e"].report
    assert len(report["claims"]) == 2 and report["register"]["claims"] == []
    assert report["sets"]["1"]["test"] == {"a": ["a-test"], "b": ["b-test"]}
    before = REGISTER.read_bytes()
    assert not unseal(Plan(raw), None, Path())
    assert "b was opened before" in capsys.readouterr().out and REGISTER.read_bytes() == before


def test_models_that_change_later_are_not_decoded_on_it(change):
    made(Plan(change(SEALED)))
    unseal(Plan(change(SEALED)), None, Path())
    later = Plan(change({**SEALED, "experiments.e.models.healed.max_steps": 9}))
    assert decoded(later) == {"soup", "tuned/best", "line"}
    report = later.studies["e"].report
    assert [c["model"] for c in report["claims"]] == ["soup"]
    assert [c["model"] for c in report["register"]["claims"]] == ["healed"]


def test_claims_that_come_later_open_nothing(change):
    made(Plan(change(SEALED)))
    unseal(Plan(change(SEALED)), None, Path())
    later = change({**SEALED, "experiments/e/claims": [{"model": "mean", "beats": "base", "on": "b"}]})
    assert decoded(Plan(later)) == {"soup", "tuned/best", "healed", "line"}
    assert not unseal(Plan(later), "e", Path())


def test_a_second_sealed_set_is_opened_by_itself(change):
    made(Plan(change(SEALED)))
    unseal(Plan(change(SEALED)), None, Path())
    claims = [{"model": "soup", "beats": "tuned/best", "on": "b"}, {"model": "mean", "beats": "base", "on": "a"}]
    both = change({"experiments/e/sealed": ["b", "a"], "experiments/e/claims": claims})
    assert unseal(Plan(both), None, Path())
    assert decoded(Plan(both), "a") == {"mean", "base"} and "healed" in decoded(Plan(both))


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, ["experiments.e", "no test set is sealed"]),
        ({**SEALED, "experiments/e/claims": []}, ["experiments.e.sealed", "no claim is on 'b'"]),
        (SEALED, ["experiments.e.sealed", "not made yet: soup, tuned/best, healed, line", "consomme run"]),
    ],
)
def test_what_can_not_be_opened_stays_closed(change, settings, wanted):
    with pytest.raises(ConfigurationError) as error:
        unseal(Plan(change(settings)), None, Path())
    assert all(words in str(error.value) for words in wanted) and not REGISTER.exists()


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"experiments/e/sealed": ["c"]}, ["experiments.e.sealed", "no test set 'c'", "allowed: a, b"]),
        ({"experiments/e/sealed": []}, ["experiments.e.sealed"]),
        ({**SEALED, TEST: {"a": ["a-test", "b-test"], "b": "b-test"}}, ["e.data.test.a", "'b-test' is in e's 'b' too, which is sealed"]),
        ({**SEALED, "corpora/twin": {"source": "generated", "generator": "spoken-numbers", "domain": "shifted", "split": "test", "size": 10}, TEST: {"a": "twin", "b": "b-test"}}, ["'twin' is in e's 'b'"]),
        ({"experiments/e/sealed": ["a", "b"], "experiments/e/data/dev": None}, ["no set to score models on", "what is sealed isn't decoded"]),
    ],
)  # fmt: skip
def test_what_can_not_be_sealed(change, settings, wanted):
    if "experiments/e/data/dev" in settings:
        nodes = {"raw": {"from": {"scratch": {"family": "ctc"}}}, "base": {"train": "raw", "max_steps": 2}}
        settings = {**settings, "experiments/e/models": nodes, "experiments/e/claims": []}
    with pytest.raises(ConfigurationError) as error:
        Plan(change(settings))
    assert all(words in str(error.value) for words in wanted)


def test_a_set_that_another_experiment_decodes_is_not_sealed(change):
    raw = change(SEALED)
    raw["experiments"]["f"] = {**raw["experiments"]["e"], "sealed": None}
    with pytest.raises(ConfigurationError, match=r"experiments\.f\.data\.test\.b: 'b-test' is in e's 'b' too"):
        Plan(raw)
