"""The pictures of pruning: which model came from which, the Pareto front, what layers and heads are worth."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from consomme.prune.choosers import TABLE as CHOOSERS
from consomme.prune.choosers.base import Question
from consomme.report.charts import pruning as prune_charts
from consomme.report.findings import pruning
from consomme.report.outcomes import Outcomes
from consomme.report.write import write_report
from consomme.results.columns import COSTS, SCORES
from consomme.results.frames import frame
from consomme.results.searches import searches

from .conftest import data_of  # isort: skip

OUT = Path("results/medical-translator")


def model(name, verb, *parents, **more):
    node, _, run = name.partition("/")
    return {"name": name, "node": node, "run": run, "verb": verb, "replicate": "", "parents": list(parents), **more}


MODELS = [
    model("base", "train"),
    model("half", "prune", "base"),
    model("third", "prune", "base"),
    model("healed", "train", "half"),
    model("again", "train", "healed"),
    model("soup", "average", "again", "healed"),
    model("least", "average", "base", "half", "third", choice=True),
    model("deeper", "prune", "healed"),
    model("small", "export", "healed"),
]


def outcomes(models=MODELS, metric="wer"):
    spec = {"models": models, "replicates": [""], "metric": metric, "sets": {"": {"test": {}}}, "claims": []}
    return Outcomes(spec, Path("cache"))


def test_recovered_models_belong_to_the_pruned_one_behind_them():
    assert pruning.pruned_from(outcomes()) == {
        "half": "half", "third": "third", "healed": "half", "again": "half", "soup": "half", "deeper": "deeper",
    }  # fmt: skip


def scored(**values):
    rows = ((n, "", "", "test", "t", "d", "wer", v, v - 1, v + 1, 9) for n, v in values.items())
    return frame(SCORES, [dict(zip(SCORES.names, row, strict=False)) for row in rows])


def costed(**sizes):
    return frame(
        COSTS,
        (
            {"model": n, "parameters": p * 10**6, "speed": s, "speed_low": s - 1, "speed_high": s + 1}
            for n, (p, s) in sizes.items()
        ),
    )


def test_the_front_is_what_nothing_beats_in_both():
    found = scored(base=10.0, half=30.0, third=20.0, healed=12.0, deeper=40.0)
    costs = costed(base=(8, 10), half=(4, 20), third=(6, 14), healed=(4, 20), deeper=(2, 20))
    rows = {r["model"]: r for r in pruning.points(outcomes(), found, costs, {}, "t", "wer", "parameters")}
    assert {n: r["state"] for n, r in rows.items()} == {
        "base": "whole", "half": "pruned", "third": "pruned", "healed": "recovered", "deeper": "pruned",
    }  # fmt: skip
    assert {n for n, r in rows.items() if r["front"]} == {"base", "healed", "deeper"}
    assert rows["healed"]["of"] == "half" and rows["healed"]["cost"] == 4 and rows["base"]["how"] == "whole"
    rows = pruning.points(outcomes(), found, costs, {}, "t", "wer", "speed")
    assert {r["model"] for r in rows if r["front"]} == {"base", "healed"}  # as fast as the deeper, and better
    assert {(r["cost_low"], r["cost_high"]) for r in rows if r["model"] == "base"} == {(9.0, 11.0)}


@pytest.mark.parametrize(("chosen", "state"), [("third", "pruned"), ("base", "whole")])
def test_what_was_pruned_from_a_choice_was_pruned_from_what_was_chosen(chosen, state):
    models = [*MODELS, model("tiny", "prune", "least")]
    found = scored(base=10.0, third=20.0, least=20.0, tiny=50.0)
    costs = costed(base=(8, 10), third=(6, 14), least=(6, 14), tiny=(1, 50))
    record = {("least", ""): {"chosen": {"ingredients": [chosen]}}}
    rows = {r["model"]: r for r in pruning.points(outcomes(models), found, costs, record, "t", "wer", "parameters")}
    assert set(rows) == {"base", "third", "tiny"} and rows[chosen]["state"] == state


def test_how_a_model_was_pruned_in_words():
    def words(**settings):
        return pruning.how_pruned(MODELS[1], {("half", ""): {"settings": settings}})

    greedy, listed = {"drop": "1/2", "by": "greedy"}, {"keep": [1, 2], "by": None}
    assert words(layers={"encoder": greedy, "decoder": None}, heads=None) == "greedy"
    assert words(layers={"encoder": greedy, "decoder": listed}) == "encoder greedy, decoder listed"
    assert words(layers={"encoder": listed}, heads={"drop": "1/4", "by": "taylor"}) == "listed, heads taylor"
    assert words(layers={"encoder": {**greedy, "merge": "mean"}, "decoder": listed}) == (
        "encoder greedy merge mean, decoder listed"
    )
    assert words(layers=None) == pruning.how_pruned(MODELS[1], {}) == "half"
    assert pruning.label(model("half/a=1,b=greedy", "prune", swept={"a": 1, "b": "greedy"})) == "half 1 greedy"


@pytest.mark.parametrize(
    ("plan", "worth", "words"),
    [
        ({"trace": [{"layer": n, "objective": v} for n, v in ((1, 3.0), (2, 1.0), (3, 2.0))]}, {1: 1, 2: 0, 3: 0.5}, "loss 1 without it"),
        ({"trace": [{"layer": n, "objective": v} for n, v in ((1, 5.0), (2, 9.0), (3, 7.0))], "metric": "bleu"}, {1: 1, 2: 0, 3: 0.5}, "BLEU 9 without it"),
        ({"trace": [{"layer": n, "objective": v} for n, v in ((1, math.inf), (2, 1.0), (3, 2.0))]}, {1: 1, 2: 0, 3: 1}, "loss 1 without it"),
        ({"trace": [{"layer": n, "influence": v} for n, v in ((1, 0.4), (2, 0.1), (3, 0.2))]}, {1: 1, 2: 0, 3: 1 / 3}, "changes its input by 0.1"),
        ({"trace": [{"step": 1, "layer": 2, "objective": 4.0}]}, {1: 1, 2: 0, 3: 1}, "removed as number 1, loss 4 then"),
        ({"trace": [{"step": 10, "loss": 4.0}, *({"layer": n, "score": v} for n, v in ((1, 0.9), (2, 0.1), (3, 0.5)))]}, {1: 1, 2: 0, 3: 0.5}, "learned score 0.1"),
    ],
)  # fmt: skip
def test_what_layers_are_worth_by_what_the_search_saw(plan, worth, words):
    given = {"kept": [1, 3], "dropped": [2], **plan}
    raw, said = pruning.layer_worth(given)
    assert pruning.scale(raw) == pytest.approx(worth) and said[2] == words


@pytest.mark.parametrize("name", CHOOSERS)
@pytest.mark.parametrize("options", [{}, {"beam": 2}, {"swaps": True}, {"rank": 2}])
def test_the_trace_of_every_chooser_is_understood(name, options):
    # layer 2 is worth least alone, layers 1 and 4 as a pair, so that a swap follows
    value = {(0, 2, 3): 9.0, (1, 2): 8.0, (0, 2): 3.0, (2, 3): 2.0}
    question = Question(
        4,
        2,
        objective=lambda kept: value.get(tuple(kept), 1.0),
        similarity=lambda: [[1 - 0.1 * abs(i - j) for j in range(5)] for i in range(5)],
        learnt=lambda drop, seed: ([0.4, 0.1, 0.3, 0.2], [{"step": 10, "loss": 3.0}]),
        settings=CHOOSERS[name].settings(
            **{k: v for k, v in options.items() if k in CHOOSERS[name].settings.model_fields}
        ),
    )
    gone, trace = CHOOSERS[name].choose(question)
    kept = [n + 1 for n in range(4) if n not in gone]
    worth, words = pruning.layer_worth({"kept": kept, "dropped": [n + 1 for n in gone], "trace": trace})
    assert set(worth) == set(words) and set(worth) <= {1, 2, 3, 4}
    if name in ("learned", "similarity", "leave_one_out") or (name == "greedy" and "beam" not in options):
        assert set(worth) == {1, 2, 3, 4}
    if name == "greedy" and options == {"swaps": True}:
        assert any("swap" in step for step in trace) and "removed by a swap" in words.values()


def test_choices_that_give_no_layer_a_number_have_no_map():
    draws = [{"draw": 1, "layers": [2], "objective": 1.0}, {"draw": 2, "layers": [1], "objective": 2.0}]
    for trace in ([], draws, [{"from": 1, "angle": 0.5}]):
        assert pruning.layer_worth({"kept": [1, 3], "dropped": [2], "trace": trace}) == ({}, {})


def write_pruning(tree):
    """Give the tree's pruned model a provenance as the stage writes it, and a choice within a budget beside it."""
    for entry in tree["models"]:
        path = Path(entry["folder"]) / "provenance.json"
        record = json.loads(path.read_text())
        if entry["name"] == "half":
            trace = [{"layer": n, "objective": 2 + 0.1 * ((n * 7) % 5)} for n in range(1, 7)]
            layers = {"encoder": {"kept": [1, 3, 4, 6], "dropped": [2, 5], "metric": "loss", "trace": trace}}
            scores = {"encoder.self": [[0.1 * ((n * h) % 7) for h in range(1, 9)] for n in range(1, 5)]}
            heads = {"by": "taylor", "removed": {"encoder.self": {"2": [1, 4]}}, "of": 32, "scores": scores}
            record |= {"chosen": {"layers": layers, "heads": heads}}
            record["settings"] = {"layers": {"encoder": {"drop": "1/3", "by": "leave_one_out"}}}
        if entry["name"] == "soup":
            curve = [
                {"model": n, "parameters": p, "set": "general", "metric": "bleu", "value": v, "ci_low": v - 2, "ci_high": v + 2}
                | {"objective": v, "admissible": v > 40, "chosen": n == "healed"}
                for n, p, v in (("balanced", 74e6, 50.0), ("healed", 51e6, 47.0), ("half", 51e6, 30.0))
            ]  # fmt: skip
            record |= {"settings": {"method": "smallest"}, "chosen": {"ingredients": ["healed"], "curve": curve}}
        path.write_text(json.dumps(record))
    return tree


def test_the_page_draws_them(tree):
    spec = write_pruning(json.loads(json.dumps(tree)))
    write_report(spec, OUT, Path("results/cache"))
    text = (OUT / "report.html").read_text()
    charts = data_of(text, "charts")
    for key in ("front_parameters_0", "front_speed_1", "budget_0", "layers_encoder", "heads_0"):
        assert key in charts and f'id="chart-{key}"' in text
    assert 'id="pruning"' in text and "half, by taylor" in text
    cells = (
        charts["layers_encoder"]["layer"][0]["data"]["values"]
        if "data" in charts["layers_encoder"]["layer"][0]
        else charts["layers_encoder"]["data"]["values"]
    )
    assert [c["layer"] for c in cells if not c["kept"]] == [2, 5]
    heads = json.dumps(charts["heads_0"])
    assert heads.count('"kept": false') == 2


def test_nothing_pruned_nothing_drawn():
    rows = pruning.points(
        outcomes([model("base", "train")]), scored(base=1.0), costed(base=(1, 1)), {}, "t", "wer", "speed"
    )
    assert rows == [] and prune_charts.front(rows, "t", "wer", False, "speed", "s") is None


def test_many_ways_of_choosing_stand_apart_and_near_their_size():
    ways = [f"way {i}" for i in range(24)]
    crowd = [{"model": way, "how": way, "cost": 0.5} for way in ways]
    ends = [{"model": name, "how": "whole", "cost": cost} for name, cost in (("small", 0.0), ("large", 1.0))]
    drawn = prune_charts.side_by_side([*ends, *crowd])
    there = [row["at"] for row in drawn if row["how"] in ways]
    assert len(set(there)) == len(ways) and there == sorted(there)
    assert max(abs(at - 0.5) for at in there) <= 0.04
    few = [row["at"] for row in prune_charts.side_by_side([*ends, *crowd[:2]])][2:]
    assert few[1] - few[0] > there[1] - there[0]
    colours = [prune_charts.way_colour(i) for i in range(len(ways))]
    assert len(set(colours)) == len(ways) and colours[: len(prune_charts.WAYS)] == list(prune_charts.WAYS)


def test_controls_stand_beside_what_was_pruned():
    more = [
        model("longer", "train", "base"),
        model("nine", "train", "raw"),
        model("other", "train", "raw"),
        model("s/seed=1", "train", "base"),
    ]
    found = outcomes([*MODELS, *more])
    sizes = pd.Series({"base": 400, "half": 200, "longer": 400, "nine": 210, "other": 400})
    states = {"base": "whole", "half": "pruned", "healed": "recovered", "again": "recovered"}
    # one was trained on from the whole, one is of another size; what is as large and no descendant says nothing here
    assert sorted(pruning.controls(found, states, sizes)) == ["longer", "nine"]


def chosen_smallest(chosen):
    curve = [
        {"model": name, "parameters": size, "set": "d", "metric": "wer", "value": 1.0, "chosen": name == chosen}
        for name, size in (("base", 400), ("half", 200))
    ]
    return {"settings": {"method": "smallest"}, "chosen": {"ingredients": [chosen], "curve": curve}}


def test_the_smallest_is_put_beside_the_largest_that_was_tried():
    tried = searches({("least", ""): chosen_smallest("half")})
    costs = frame(COSTS, [{"model": "base", "speed": 10}, {"model": "half", "speed": 19}])
    words = "least is half: 50% of the parameters and 1.90 times the speed of base, the largest of 2."
    assert pruning.compact(outcomes(), costs, tried) == [words]
    assert pruning.compact(outcomes(), frame(COSTS), tried) == [words.replace(" and 1.90 times the speed", "")]
    assert pruning.compact(outcomes(), costs, searches({})) == []


def test_candidates_stand_at_what_the_choice_is_by():
    tried = chosen_smallest("half")
    for row in tried["chosen"]["curve"]:
        row["admissible"] = True
    (small,) = pruning.budgets(outcomes(), searches({("least", ""): tried}))
    assert small["chosen_as"] == "smallest" and [row["cost"] for row in small["rows"]] == [400e-6, 200e-6]
    for row, speed in zip(tried["chosen"]["curve"], (3.0, 5.0), strict=True):
        row["speed"] = speed
    (quick,) = pruning.budgets(outcomes(), searches({("quick", ""): tried}))
    assert quick["chosen_as"] == "fastest" and [row["cost"] for row in quick["rows"]] == [3.0, 5.0]


def test_replicates_that_chose_alike_share_a_line():
    models = [{**m, "replicate": r} for r in "123" for m in MODELS]
    spec = {"models": models, "replicates": list("123"), "metric": "wer", "sets": {}, "claims": []}
    names = zip("123", ("half", "base", "half"), strict=True)
    tried = searches({("least", replicate): chosen_smallest(name) for replicate, name in names})
    lines = pruning.compact(Outcomes(spec, Path("cache")), frame(COSTS), tried)
    assert [line.partition(":")[0] for line in lines] == ["least is half in 1, 3", "least is base in 2"]
