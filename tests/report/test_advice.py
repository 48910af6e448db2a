"""The sentence that says which model to take."""

import json

import pytest

from consomme.report.evidence.claims import EXPLORATORY, Comparison
from consomme.report.outcomes import Outcomes
from consomme.report.words.advice import advice
from consomme.results.columns import COSTS, SCORES
from consomme.results.frames import frame


def made(model, hypothesis, against, holds=True, on="medical", claim="1", difference=2.0, margin=None, **change):
    values = {
        "claim": claim, "model": model, "against": against, "replicates": 3, "split": "test", "set": on, "decoding": "d",
        "metric": "bleu", "hypothesis": hypothesis, "margin": margin if hypothesis == "beats" else margin or 1.0,
        "difference": difference, "ci_low": difference - 1, "ci_high": difference + 1, "p": 0.001 if holds else 0.5,
        "p_holm": 0.001 if holds else 0.5, "method": "", "by_replicate": (("1", difference),), "units": 100, "unit": "rows",
        "visible": 1.0, "unseen": "", "p_models": 0.001 if holds else 0.5, "p_models_holm": 0.001 if holds else 0.5,
        "ci_models_low": difference - 1, "ci_models_high": difference + 1, "decisive": 0,
    }  # fmt: skip
    return Comparison(**{**values, **change})


@pytest.fixture
def say(build_tree, tmp_path):
    """Comparisons -> the sentence. costs: model -> parameters; dev: model -> its score on each development set."""
    outcomes = Outcomes(json.loads(json.dumps(build_tree(replicates=(1,), count=4, claims=[]))), tmp_path)

    def sentence(*comparisons, costs=None, dev=None):
        sizes = [{"model": m, "parameters": n, "bytes": 4 * n} for m, n in (costs or {}).items()]
        scores = [
            {"model": m, "kind": "train", "replicate": "1", "split": "dev", "set": s, "metric": "bleu", "value": v}
            for m, v in (dev or {}).items()
            for s in ("general", "medical")
        ]
        return advice(outcomes, comparisons, frame(SCORES, scores), frame(COSTS, sizes))

    return sentence


def test_a_model_whose_claims_all_hold_is_taken_with_its_reasons(say):
    found = say(made("balanced", "beats", "base"), made("balanced", "keeps", "base", on="general", difference=-0.5))
    assert found == (
        "Take balanced: it beats base on medical by 2.00 BLEU and it loses at most 1 BLEU against base on general."
    )


def test_one_claim_that_fails_is_enough_to_keep_the_base(say):
    fails = made("balanced", "keeps", "base", False, on="general", difference=-3.0)
    assert say(made("balanced", "beats", "base"), fails).startswith("Keep base: no other model")


def test_a_smaller_model_that_keeps_is_taken_in_place_of_the_larger_one(say):
    claims = [made("soup", "beats", "base"), made("healed", "keeps", "soup", difference=-0.2)]
    found = say(*claims, costs={"base": 100_000_000, "soup": 100_000_000, "healed": 60_000_000})
    assert found == (
        "Take healed: it loses at most 1 BLEU against soup on medical and soup beats base on medical by 2.00 BLEU; "
        "it has 60\u00a0M parameters for 100\u00a0M."
    )
    # as large as before: nothing is gained by it
    assert say(*claims, costs=dict.fromkeys(("base", "soup", "healed"), 100_000_000)).startswith("Take soup:")
    # what it keeps to was not shown to be any good
    unsound = [made("soup", "beats", "base", False), claims[1]]
    assert say(*unsound, costs={"base": 100_000_000, "soup": 100_000_000, "healed": 60_000_000}).startswith("Keep base")


def test_better_than_another_model_but_worse_than_the_base_is_not_taken(say):
    claim = made("soup", "beats", "tuned/best")
    worse = made("soup", "beats", "base", claim=EXPLORATORY, difference=-4.0, p_holm=None)
    assert say(claim).startswith("Take soup")
    assert say(claim, worse).startswith("Keep base")


def test_a_loss_on_another_set_is_told(say):
    worse = made("soup", "beats", "base", claim=EXPLORATORY, on="general", difference=-4.0, p_holm=None)
    found = say(made("soup", "beats", "tuned/best"), worse)
    assert found.endswith("; but it looks worse than base on general (−4.00 BLEU).")


def test_development_sets_decide_between_several(say):
    claims = [made("soup", "beats", "base"), made("healed", "beats", "base", claim="2")]
    assert say(*claims, dev={"soup": 30.0, "healed": 31.0}).startswith("Take healed:")
    found = say(*claims, dev={"soup": 32.0, "healed": 31.0})
    assert found.startswith("Take soup:") and "the claims of healed hold too" in found


def test_models_that_keep_each_other_to_each_other_end_the_search(say):
    claims = [made("soup", "keeps", "healed"), made("healed", "keeps", "soup", claim="2")]
    found = say(*claims, costs={"base": 100, "soup": 90, "healed": 80})
    assert found.startswith("Take healed:")


def test_without_claims_nothing_is_shown(say):
    found = say(dev={"base": 20.0, "soup": 30.0})
    assert found == (
        "No claim was declared, so nothing here shows which model to take; on the development sets soup is best."
    )
