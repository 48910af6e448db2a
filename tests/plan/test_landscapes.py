"""One landscape for each set of runs that averages are made of."""

import json

from consomme.plan.plan import Plan


def of(raw, node="tuned"):
    return [s for s in Plan(raw).landscapes.values() if s.node == node]


def test_a_set_of_ingredients_is_one_item_whatever_is_made_of_it(change):
    more = {
        "experiments/e/models/mean": {"average": "tuned"},
        "experiments/e/models/again": {"average": ["tuned/best", "base", "tuned"], "method": "weighted", "weights": [1] * 6},
        "experiments/e/models/merged": {"average": "tuned", "method": "ties", "density": 0.5},
        "experiments/e/models/together": {"average": "tuned", "method": "ensemble"},
    }  # fmt: skip
    (found,) = of(change(more))
    assert found.averages == ("again", "mean", "merged", "soup") and len(found.models) == 4
    assert found.path == f"results/e/landscape/{found.digest}.json"
    assert list(found.inputs)[-1] == "corpus/b-dev" and json.loads(found.spec)["inputs"] == list(found.inputs)
    spelt = ["data.share=1.0,learning_rate=3e-05", "data.share=0.5,learning_rate=1e-05"]
    turned = {"average": [f"tuned/{run}" for run in spelt] + ["tuned"]}
    assert of(change({"experiments/e/models/mean": turned}))[0].digest == found.digest


def test_other_runs_are_another_item_and_two_are_none(change):
    assert len(of(change({"experiments/e/models/part": {"average": "tuned", "by": "data.share"}}))) == 1
    grid = {"learning_rate": ["1e-5", "3e-5", "1e-4"], "data.share": [0.5, 1.0]}
    raw = change({"experiments/e/models/tuned/sweep": {"grid": grid}})
    (whole,) = of(raw)
    raw["experiments"]["e"]["models"]["part"] = {"average": "tuned", "by": "data.share"}
    found = {s.averages: len(s.models) for s in of(raw)}
    assert found == {("mean", "soup"): 6, ("part/data.share=0.5",): 3, ("part/data.share=1.0",): 3}
    assert whole.digest in {s.digest for s in of(raw)}
    only = change({"experiments/e/models/mean": {"average": "tuned", "method": "ensemble"},
                   "experiments/e/models/soup": {"average": ["base", "tuned/best"]}})  # fmt: skip
    assert of(only) == []


def test_which_development_sets(change):
    assert of(change({}))[0].sets == {"b": 1.0}  # the greedy soup's
    assert of(change({"experiments/e/models/tuned/choose_on": {"a": 2, "b": 1}}))[0].sets == {"a": 2.0, "b": 1.0}
    plain = {"experiments/e/models/soup": {"average": "tuned", "method": "greedy"}}
    assert of(change(plain))[0].sets == {"a": 1.0, "b": 1.0}
    limits = {"a": {"lose_at_most": 1, "of": "base"}, "b": "best"}
    (limited,) = of(change({"experiments/e/models/soup/choose_on": limits}))
    assert limited.sets == {"b": 1.0} and list(limited.corpora) == ["b-dev"]
    no_claims = {"experiments/e/claims": [], "experiments/e/models": {
        "raw": {"from": {"scratch": {"family": "ctc", "num_hidden_layers": 2}}},
        "runs": {"train": "raw", "max_steps": 2, "sweep": {"grid": {"seed": [1, 2, 3]}}},
        "mean": {"average": "runs"}}}  # fmt: skip
    assert of(change(no_claims), "runs")[0].sets == {"a": 1.0, "b": 1.0}


def test_one_for_each_replicate_and_all_of_them_in_the_report(change):
    plan = Plan(change({"experiments.e.repeat": [1, 2]}))
    study = plan.studies["e"]
    assert [s.replicate for s in study.landscapes] == ["1", "2"]
    entry = {"node": "tuned", "averages": ["mean", "soup"], "replicate": "2", "path": study.landscapes[1].path}
    assert study.report["landscapes"][1] == entry


def test_a_change_moves_it_with_its_models_and_the_order_of_the_nodes_does_not(change):
    raw = change({})
    (before,) = of(raw)
    models = raw["experiments"]["e"]["models"]
    raw["experiments"]["e"]["models"] = dict(reversed(models.items()))
    assert of(raw)[0].spec == before.spec
    assert of(change({"experiments/e/models/tuned/max_steps": 5}))[0].digest != before.digest
    # how hypotheses are decoded says nothing of the loss
    assert of(change({"experiments/e/decoding": {"num_beams": 3}}))[0].spec == before.spec
    assert of(change({"experiments/e/data/test": {"a": "a-test"}, "experiments/e/claims": []}))[0].spec == before.spec


def test_models_with_batch_norms_bring_what_they_were_trained_on(change):
    start = {"from": {"scratch": {"family": "parakeet"}}}
    (found,) = of(change({"experiments/e/models/raw": start, "experiments/e/models/base/train": "raw"}))
    assert list(found.inputs)[-1] == "statistics/b-train" and json.loads(found.spec)["statistics"] == {"b-train": 4.0}
    assert "statistics" not in json.loads(of(change({}))[0].spec)
