"""Sweeps with optuna: the values of their trials in the tables and words of a report."""

import json

import pytest

from consomme.report.findings.edges import edges
from consomme.report.links import runs
from consomme.report.outcomes import Outcomes
from consomme.report.trials import best_trials, values_in_words, with_values

SPACE = {key: {} for key in ("learning_rate", "data.share")}


@pytest.fixture
def spec(tmp_path):
    """{replicate: learning rates of the trials of `tuned`, and the number of the best} -> a report's spec, each trial pruned, too.
    The values of the first trial are known before any job."""

    def made(**replicates):
        models = []
        for replicate, (rates, best) in replicates.items():
            found = [{"learning_rate": rate, "data.share": 1.0} for rate in rates]
            for number, values in enumerate(found, 1):
                swept = {"trial": number, **(values if number == 1 else {})}
                names = {"run": f"trial={number}", "replicate": replicate, "swept": swept, "digest": "0", "folder": ""}
                models.append(
                    {"name": f"tuned/trial={number}", "node": "tuned", "verb": "train", "parents": []} | names
                )
                made_of = {"parents": [f"tuned/trial={number}"]}
                models.append({"name": f"half/trial={number}", "node": "half", "verb": "prune"} | made_of | names)
            trials = [
                {"number": number, "run": f"tuned/trial={number}", "values": values, "state": "complete", "value": 5.0}
                for number, values in enumerate(found, 1)
            ]
            folder = tmp_path / replicate
            folder.mkdir()
            study = {"batch": 1, "space": SPACE, "trials": trials}
            record = {"chosen": {"ingredients": [f"tuned/trial={best}"], "study": study}}
            (folder / "provenance.json").write_text(json.dumps(record))
            of_best = {"name": "tuned/best", "run": "best", "replicate": replicate, "swept": {}, "digest": "0"}
            models.append({"node": "tuned", "verb": "train", "parents": [], "folder": str(folder)} | of_best)
        return {"models": models, "replicates": list(replicates), "sets": {r: {} for r in replicates}}

    return made


def test_values_that_were_found_stand_beside_those_that_were_drawn(spec):
    given = spec(a=([1e-4, 3e-4], 2))
    table = runs(with_values(given)["models"]).set_index("name")
    assert table.loc["tuned/trial=1", ["trial", "learning_rate", "data.share"]].to_list() == ["1", "0.0001", "1.0"]
    assert table.loc["tuned/trial=2", ["trial", "learning_rate", "data.share"]].to_list() == ["2", "0.0003", "1.0"]
    assert given["models"][2]["swept"] == {"trial": 2}  # the spec itself is left as it was


def test_what_is_made_of_a_trial_has_its_values(spec):
    table = runs(with_values(spec(a=([1e-4, 3e-4], 2)))["models"]).set_index("name")
    assert table.loc["half/trial=1", "learning_rate"] == "0.0001"
    assert table.loc["half/trial=2", "learning_rate"] == "0.0003"
    assert table.loc["tuned/best", "learning_rate"] == ""


def test_the_summary_says_which_trial_is_best_and_with_what(spec, tmp_path):
    assert best_trials(Outcomes(spec(a=([1e-4, 3e-4], 2)), tmp_path)) == [
        "Of the 2 trials of tuned, the best on the development sets is trial 2 (learning_rate=0.0003, data.share=1.0)."
    ]


def test_each_replicate_has_its_own_best_and_its_own_values(spec, tmp_path):
    outcomes = Outcomes(spec(a=([1e-4, 3e-4], 2), b=([1e-4, 9e-4], 1)), tmp_path)
    (line,) = best_trials(outcomes)
    assert "is trial 2 (learning_rate=0.0003, data.share=1.0) in replicate a, trial 1 (learning_rate=0.0001" in line
    words = values_in_words(outcomes)
    assert words["tuned/trial=1"] == "learning_rate=0.0001, data.share=1.0"
    assert words["tuned/trial=2"] == "other values in each replicate"


def test_the_last_trial_is_no_edge_of_what_was_tried(spec, tmp_path):
    given = with_values(spec(a=([3e-4, 1e-4, 9e-4, 2e-4], 4)))
    assert edges(Outcomes(given, tmp_path)) == []
