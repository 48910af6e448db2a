"""Composition: sweeps, references, where, by, replicates."""

import json
import re
from pathlib import Path

import pytest
import yaml

from consomme.plan.keeping import going
from consomme.plan.load import read
from consomme.plan.plan import Plan
from consomme.plan.problems import ConfigurationError

HERE = Path(__file__).parent
CONFIGURATIONS = sorted((HERE.parents[1] / "config").glob("*.yaml"))


def names(plan, experiment="e"):
    return [m.name for m in plan.studies[experiment].first.models]


@pytest.mark.parametrize("file", [HERE / "example.yaml", *CONFIGURATIONS], ids=lambda p: p.stem)
def test_every_configuration_and_the_design_example_loads(file):
    plan = Plan(read([file]))
    assert plan.models and any(study.claims for study in plan.studies.values())


def test_the_design_example_has_the_models_it_says():
    plan = Plan(read([HERE / "example.yaml"]))
    found = names(plan, "medical-translator")
    runs = [n for n in found if n.startswith("tuned/") and not n.endswith("best")]
    assert len(runs) == 8 and "tuned/data.share=0.3,label_smoothing_factor=0.0,learning_rate=1e-05" in runs
    soup = next(m for m in plan.models.values() if m.node == "soup")
    assert len(soup.parents) == 4 and all("data.share=1.0" in name for name in soup.parents)
    assert len(plan.studies["medical-translator"].graphs) == 3


def test_a_sweep_names_its_runs_by_sorted_keys_and_values(small):
    assert [n for n in names(Plan(small)) if n.startswith("tuned/")] == [
        "tuned/data.share=0.5,learning_rate=1e-05",
        "tuned/data.share=0.5,learning_rate=3e-05",
        "tuned/data.share=1.0,learning_rate=1e-05",
        "tuned/data.share=1.0,learning_rate=3e-05",
        "tuned/best",
    ]


def test_mapping_verbs_keep_the_runs_of_their_parent_and_averages_reduce_them(change):
    raw = change({"experiments/e/models/third": {"prune": "tuned", "layers": {"encoder": {"drop": "1/3", "by": "uniform"}}},
                  "experiments/e/models/again": {"train": "third", "max_steps": 2, "sweep": {"grid": {"seed": [1, 2]}}},
                  "experiments/e/models/one": {"prune": "tuned/best", "layers": {"encoder": {"keep": [1, 2]}}},
                  "experiments/e/models/soups": {"average": "again"}})  # fmt: skip
    found = names(Plan(raw))
    assert "third/data.share=0.5,learning_rate=1e-05" in found
    assert "again/data.share=0.5,learning_rate=1e-05,seed=2" in found
    assert sum(n.startswith("again/") and not n.endswith("best") for n in found) == 8
    assert "one" in found and "soups" in found


def test_the_ranks_of_a_search_are_each_trained_and_the_best_is_taken(change):
    """Late ranking: three jobs with one question each to the same search; the first is the search without a rank."""
    half = {"encoder": {"drop": "1/2", "by": "greedy", "swaps": True}}
    plan = Plan(change({"experiments/e/models/half": {"prune": "tuned/best", "layers": half},
                        "experiments/e/models/last": {"prune": "tuned/best", "layers": half,
                                                      "sweep": {"grid": {"layers.encoder.rank": [1, 2, 3]}}},
                        "experiments/e/models/again": {"train": "last", "max_steps": 2},
                        "experiments/e/models/out": {"export": "again/best"}}))  # fmt: skip
    runs = {m.name: m for m in plan.models.values() if m.node in ("half", "last", "again")}
    ranks = [runs[f"last/layers.encoder.rank={rank}"] for rank in (1, 2, 3)]
    assert len({m.digest for m in ranks}) == 3 and ranks[0].digest == runs["half"].digest
    assert {m.depth["encoder"] for m in ranks} == {3}
    assert [m.identity["settings"]["layers"]["encoder"].get("rank") for m in ranks] == [None, 2, 3]
    assert sorted(runs["again/best"].parents) == [f"again/layers.encoder.rank={rank}" for rank in (1, 2, 3)]


def test_an_option_as_it_is_by_default_is_the_same_model(change):
    def digest(**options):
        half = {"prune": "tuned/best", "layers": {"encoder": {"drop": "1/2", "by": "greedy", **options}}}
        plan = Plan(change({"experiments/e/models/half": half}))
        return next(m.digest for m in plan.models.values() if m.node == "half")

    assert digest() == digest(beam=1, swaps=False, rank=1) == digest(beam="1")
    assert len({digest(), digest(beam=2), digest(swaps=True), digest(rank=2)}) == 4


def test_a_merge_is_a_model_of_its_own_and_none_leaves_the_digest_alone(change):
    def half(**layers):
        plan = Plan(change({"experiments/e/models/half": {"prune": "tuned/best", "layers": {"encoder": layers}}}))
        return next(m for m in plan.models.values() if m.node == "half")

    for layers in ({"keep": [1, 4]}, {"drop": [2, 3]}, {"drop": "1/3", "by": "greedy"}):
        plain, *merged = (half(**layers, **more) for more in ({}, {"merge": "mean"}, {"merge": "laco"}))
        assert plain.digest == half(**layers, merge=None).digest
        assert "merge" not in plain.identity["settings"]["layers"]["encoder"]
        assert len({model.digest for model in (plain, *merged)}) == 3
        assert all(model.depth == plain.depth for model in merged)


def test_by_makes_one_soup_for_each_value(change):
    plan = Plan(change({"experiments/e/models/soups": {"average": "tuned", "by": ["data.share"]}}))
    soups = {m.run: sorted(m.parents) for m in plan.models.values() if m.node == "soups" and m.run != "best"}
    assert sorted(soups) == ["data.share=0.5", "data.share=1.0"]
    assert soups["data.share=0.5"] == [f"tuned/data.share=0.5,learning_rate={v}" for v in ("1e-05", "3e-05")]


def test_random_sweeps_repeat_and_growing_one_leaves_its_old_runs_alone(change):
    def runs(n, more=()):
        random = {"n": n, "seed": 3, "learning_rate": {"log_uniform": ["1e-5", "1e-3"]}, **dict(more)}
        plan = Plan(change({"experiments/e/models/tuned/sweep": {"random": random}}))
        return [m for m in names(plan) if m.startswith("tuned/") and not m.endswith("best")]

    assert runs(4) == runs(4) and runs(6)[:4] == runs(4) and len(set(runs(6))) == 6


def test_points_and_swept_architecture(change):
    grid = {"from.scratch.hidden_size": [32, 64]}
    plan = Plan(change({"experiments/e/models/raw/sweep": {"grid": grid},
                        "experiments/e/models/tuned/sweep": {"points": [{"learning_rate": "1/1000"}]},
                        "experiments/e/models/line": {"average": ["base/best", "soup"], "method": "greedy"}}))  # fmt: skip
    assert "base/from.scratch.hidden_size=32" in names(plan)
    assert "tuned/from.scratch.hidden_size=64,learning_rate=0.001" in names(plan)


def test_the_base_of_a_merge_is_what_its_ingredients_were_trained_from(change):
    def parents(**node):
        plan = Plan(change({"experiments/e/models/mean": {"average": "tuned", **node}}))
        (model,) = (m for m in plan.models.values() if m.node == "mean")
        return list(model.parents), model

    first, model = parents(method="ties", density="1/2")
    assert first[0] == "base" and len(first) == 5 and model.identity["settings"]["base"] is True
    assert parents(method="ties", density=0.5, base="base")[1].digest == model.digest
    assert parents(method="ties", density=0.5, base="raw")[0][0] == "raw"
    assert parents()[0] == first[1:]


def test_settings_that_are_chosen_make_one_model(change):
    def merged(**node):
        plan = Plan(change({"experiments/e/models/mean": {"average": "tuned", **node}}))
        (model,) = (m for m in plan.models.values() if m.node == "mean")
        return model

    model = merged(method="ties", choose={"grid": {"scale": ["1/2", 1], "density": [0.2]}})
    settings = model.identity["settings"]
    assert settings["choose"] == [{"scale": 0.5, "density": 0.2}, {"scale": 1.0, "density": 0.2}]
    assert settings["choose_on"]["sets"] == {"a": {"weight": 1.0}, "b": {"weight": 1.0}} and settings["base"] is True
    assert not {"scale", "density"} & settings.keys() and "corpus/a-dev" in model.inputs
    # the same with points, in which each has what it needs, and with a limit
    points = [{"density": 0.2, "scale": 0.5}, {"density": 0.2, "scale": 1}]
    assert merged(method="ties", choose={"points": points}).identity["settings"]["choose"] == [
        {"density": 0.2, "scale": 0.5},
        {"density": 0.2, "scale": 1.0},
    ]
    bound = {"b": "best", "a": {"lose_at_most": 1, "of": "base"}}
    fisher = merged(method="fisher", choose={"grid": {"examples": [8, 16]}}, choose_on=bound, metric="loss")
    assert list(fisher.references) == ["base"] and fisher.identity["settings"]["choose_on"]["metric"] == "loss"
    # without it, a model is what it was
    assert merged(method="ties", density=0.2).digest == merged(method="ties", density=0.2, choose=None).digest


def test_settings_are_chosen_for_each_run_of_a_sweep(change):
    node = {
        "average": "tuned",
        "sweep": {"grid": {"method": ["tsv", "iso_c"]}},
        "choose": {"grid": {"scale": [0.5, 1]}},
    }
    plan = Plan(change({"experiments/e/models/mean": node}))
    found = {m.run: m.identity["settings"] for m in plan.models.values() if m.node == "mean"}
    assert sorted(found) == ["method=iso_c", "method=tsv"]
    assert all(s["choose"] == [{"scale": 0.5}, {"scale": 1.0}] for s in found.values())


def test_the_best_of_a_swept_average_is_chosen_on_development_sets(change):
    """Every point is a model of its own, with scores; `choose` makes one."""
    grid = {"density": [0.2, 0.5], "scale": [0.5, 1]}
    goals = {"b": "best", "a": {"lose_at_most": 1, "of": "base"}}
    node = {"average": "tuned", "method": "ties", "sweep": {"grid": grid}, "choose_on": goals}
    plan = Plan(change({"experiments/e/models/merged": node, "experiments/e/models/half/prune": "merged/best"}))
    found = {m.name: m for m in plan.models.values()}
    best = found["merged/best"]
    assert len(best.parents) == 4 and best.identity["settings"]["method"] == "best_run"
    assert best.identity["settings"]["choose_on"]["sets"]["b"] == {"weight": 1.0} and list(best.references) == ["base"]
    assert "corpus/a-dev" in best.inputs and not any("test" in label for label in best.inputs)
    assert list(found["half"].parents) == ["merged/best"]
    (run,) = (m for m in found.values() if m.run == "density=0.2,scale=1.0")
    assert run.identity["settings"]["choose_on"] is None  # no development set is read for it


def test_the_base_of_best_runs_is_what_their_runs_were_trained_from(change):
    again = {
        "train": "base",
        "sweep": {"grid": {"learning_rate": [1e-3, 1e-4]}},
        "data": {"train": "a-train"},
        "max_steps": 2,
    }
    node = {"average": ["tuned/best", "again/best"], "method": "tsv"}
    plan = Plan(change({"experiments/e/models/again": again, "experiments/e/models/mean": node}))
    (model,) = (m for m in plan.models.values() if m.node == "mean")
    assert list(model.parents) == ["base", "tuned/best", "again/best"]


def test_a_method_that_draws_has_the_replicates_seed(change):
    node = {"average": "tuned", "method": "dare_linear", "density": 0.5}
    plan = Plan(change({"experiments.e.repeat": [1, 2], "experiments/e/models/mean": node}))
    settings = {m.replicate: m.identity["settings"] for m in plan.models.values() if m.node == "mean"}
    assert [settings[r]["seed"] for r in "12"] == [1, 2]


def test_replicates_may_rotate_corpora(change):
    raw = change({"experiments.e.repeat": {1: {"home": "a", "away": "b"}, 2: {"home": "b", "away": "a"}},
                  "experiments/e/models/base/data": {"train": ["{home}-train"]},
                  "experiments.e.data": {"train": "{away}-train", "dev": {"a": "{home}-dev", "b": "{away}-dev"},
                                         "test": {"a": "{home}-test", "b": "{away}-test"}}})  # fmt: skip
    plan = Plan(raw)
    trained = {m.replicate: list(m.identity["train"]) for m in plan.models.values() if m.node == "base"}
    assert trained == {"1": ["a-train"], "2": ["b-train"]}


def test_replicates_that_rotate_test_sets_keep_the_answers_of_a_fetched_model_apart(change):
    rotated = {"experiments.e.repeat": {1: {"home": "a"}, 2: {"home": "b"}},
               "experiments.e.data.test": {"a": "b-test", "b": "{home}-test"}}  # fmt: skip
    study = Plan(change({**rotated, "experiments/e/models/raw": {"from": {"hub": "openai/whisper-tiny"}}})).studies["e"]
    found = {(e.model.node, r): e for r, among in study.evaluated.items() for e in among}
    assert found["raw", "1"].model.id == found["raw", "2"].model.id
    listed = {(m["name"], m["replicate"]): m["evaluation"] for m in study.report["models"]}
    for replicate in "12":
        assert found["raw", replicate].apart
        assert not found["base", replicate].apart
        assert listed["raw", replicate] == found["raw", replicate].path
    assert listed["raw", "1"] != listed["raw", "2"]


def test_folders_become_runs_and_need_no_training(tmp_path, change, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("x", "y"):
        (tmp_path / "trained" / name).mkdir(parents=True)
        config = {"model_type": "wav2vec2-bert", "num_hidden_layers": 6}
        (tmp_path / "trained" / name / "config.json").write_text(json.dumps(config))
    plan = Plan(change({"experiments/e/models/raw": {"from": {"folders": ["trained/*"]}},
                        "experiments/e/models/base": {"average": "raw"}}))  # fmt: skip
    assert [n for n in names(plan) if n.startswith("raw/")] == ["raw/folder=x", "raw/folder=y", "raw/best"]


@pytest.mark.parametrize(("pruned", "heads"), [({}, {"encoder": 4}), ({"encoder.self": {"0": [1]}}, None)])
def test_a_checkpoint_says_how_many_heads_it_has_unless_some_went(tmp_path, change, monkeypatch, pruned, heads):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "given").mkdir()
    config = {"model_type": "wav2vec2-bert", "num_hidden_layers": 6, "num_attention_heads": 4, "pruned_heads": pruned}
    (tmp_path / "given/config.json").write_text(json.dumps(config))
    plan = Plan(change({"experiments/e/models/raw": {"from": {"folder": "given"}}}))
    assert {m.heads and tuple(m.heads.items()) for m in plan.models.values() if m.node in ("raw", "base")} == {
        heads and tuple(heads.items())
    }


def test_jobs_that_train_or_choose_never_see_a_test_set(small):
    """The test sets reach evaluations alone, in every configuration."""
    for raw in [small, *(read([file]) for file in CONFIGURATIONS)]:
        for study in Plan(raw).studies.values():
            for graph in study.graphs.values():
                tests = {c.marker for s in graph.data.test.values() for c in s.values()}
                assert tests
                for model in graph.models:
                    assert not tests & set(model.inputs.values()), model.name
                for landscape in study.landscapes:
                    if landscape.replicate == str(graph.replicate):
                        assert not tests & set(landscape.inputs.values())
                for evaluation in graph.evaluations():
                    assert tests <= set(evaluation.inputs.values())


def test_specs_are_canonical_json_that_names_its_inputs(small):
    for model in Plan(small).models.values():
        spec = json.loads(model.spec)
        assert spec["inputs"] == list(model.inputs) and spec["digest"] == model.digest
        assert json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False) == model.spec


def test_targets_name_every_replicate(change):
    plan = Plan(change({"experiments.e.repeat": [1, 2]}))
    assert len(plan.targets("e/soup")) == 2 and len(plan.targets("e/tuned")) == 8
    assert all(t.endswith("content.json") for t in plan.targets("e/tuned/best"))


def test_a_choice_that_a_claim_alone_names_is_made_in_every_replicate(change):
    merged = {"average": "tuned", "choose_on": {"b": "best"}, "sweep": {"grid": {"method": ["uniform", "greedy"]}}}
    claims = [{"model": "merged/best", "beats": "mean", "on": "b"}]
    repeated = {"experiments.e.models.merged": merged, "experiments.e.repeat": [1, 2], "experiments.e.claims": claims}
    plan = Plan(change(repeated))
    scored = [e.model for e in plan.studies["e"].evaluations]
    assert [m.replicate for m in scored if m.name == "merged/best"] == ["1", "2"]


def test_on_is_a_word_here_though_yaml_reads_true(small):
    assert yaml.safe_load("{on: b}") == {True: "b"}
    assert Plan(small).studies["e"].claims[0]["on"] == "b"


def test_averages_of_models_with_batch_norms_see_what_the_models_were_trained_on(change):
    def soups(start):
        plan = Plan(change({"experiments/e/models/raw": {"from": start}, "experiments/e/models/base/train": "raw"}))
        found = {m.name: m for m in plan.studies["e"].models if m.stage == "average"}
        return {name: json.loads(m.spec).get("statistics") for name, m in found.items()}, found

    for start in ({"scratch": {"family": "parakeet"}}, {"hub": "nvidia/parakeet-ctc-0.6b"}):
        statistics, models = soups(start)
        # four runs, each on this corpus; the line is between what they and their base were trained on
        assert statistics["mean"] == statistics["soup"] == {"b-train": 4.0}
        assert statistics["line"] == {"a-train": 1.0, "b-train": 4.0}
        assert statistics["tuned/best"] is None  # one of the runs, as it is
        assert [i for i in models["line"].inputs if i.startswith("statistics/")] == [
            "statistics/a-train",
            "statistics/b-train",
        ]
    statistics, models = soups({"scratch": {"family": "ctc"}})
    assert not any(statistics.values()) and not any("statistics" in i for m in models.values() for i in m.inputs)


def test_width_and_sublayers_say_what_they_look_at_and_what_is_left(change):
    """Scores by data have development sets, lots the seed; the width left is known before any job, the depth is not where
    sublayers go."""
    nodes = {
        "taylor": {"prune": "base", "width": {"drop": "1/4"}},
        "length": {"prune": "base", "width": {"drop": "1/4", "by": "magnitude"}},
        "lots": {"prune": "length", "width": {"drop": "1/2", "by": "random", "sides": ["encoder"]}},
        "finer": {"prune": "base", "layers": {"encoder": {"drop": "1/4", "by": "greedy", "of": "sublayers"}}},
    }
    plan = Plan(change({f"experiments/e/models/{name}": node for name, node in nodes.items()}))
    made = {m.name: m for m in plan.studies["e"].first.models if m.name in nodes}
    assert {name for name, m in made.items() if m.corpora} == {"taylor", "finer"}
    assert {name for name, m in made.items() if "seed" in m.identity} == {"lots"}
    assert {name: m.width["intermediate_size"] for name, m in made.items()} == {
        "taylor": 96, "length": 96, "lots": 48, "finer": 128}  # fmt: skip
    assert {name: m.depth for name, m in made.items() if m.depth != {"encoder": 6}} == {"finer": None}


def test_the_smallest_is_chosen_among_models_of_any_shape(change):
    depths = {
        "prune": "base",
        "sweep": {"grid": {"layers.encoder.drop": ["1/6", "1/3", "1/2", "2/3"], "layers.encoder.by": ["uniform"]}},
    }
    limit = {"lose_at_most": 1, "of": "base"}
    least = {"average": ["base", "depths"], "method": "smallest", "choose_on": {"a": limit}}
    graph = {"experiments/e/models/depths": depths, "experiments/e/models/least": least}
    after = {"experiments/e/models/after": {"train": "least", "max_steps": 1}}
    study = Plan(change(graph | after)).studies["e"]
    found = {m.name: m for m in study.models}
    model = found["least"]
    assert len(model.parents) == 5 and model.family == "ctc" and model.depth is None and found["after"].depth is None
    # the set of the limit is also the goal, unless there is another
    choice = model.identity["settings"]["choose_on"]
    assert choice["sets"] == {"a": {"weight": 1.0, "lose_at_most": 1, "of": "base", "metric": "wer"}}
    other = Plan(change(graph | {"experiments/e/models/least": {**least, "choose_on": {"a": limit, "b": "best"}}}))
    (changed,) = [m for m in other.studies["e"].models if m.node == "least"]
    assert {s: "weight" in goal for s, goal in changed.identity["settings"]["choose_on"]["sets"].items()} == {
        "a": False,
        "b": True,
    }
    assert changed.digest != model.digest
    # it is no mix: nothing lies between its models
    assert all(landscape.node != "depths" for landscape in study.landscapes)


def test_a_vocabulary_is_trimmed_to_the_texts_of_training_and_choosing_and_then_differs_from_the_whole_one(change):
    raw = {"experiments/e/models/raw/from/scratch": {"family": "whisper"},
           "experiments/e/models/half": {"prune": "line", "vocabulary": {"keep": "used"}},
           "experiments/e/models/healed": {"train": "half", "max_steps": 3}}  # fmt: skip
    node = next(m for m in Plan(change(raw)).models.values() if m.node == "half")
    assert node.identity["texts"] == ["a-dev", "b-dev", "b-train"] == list(node.corpora)
    assert node.vocabulary == "trimmed to a-dev, b-dev, b-train"
    for more, what in (
        ({"experiments/e/models/mixed": {"average": ["line", "healed"]}}, "different vocabularies"),
        ({"experiments/e/models/healed/distil_from": "line"}, "trim it first, in a node of its own"),
    ):
        with pytest.raises(ConfigurationError, match=what):
            Plan(change({**raw, **more}))


def test_pruning_in_rounds_counts_the_layers_that_are_left(change):
    raw, parent = {}, "line"
    for number, drop in enumerate(("1/6", "1/5", "1/4"), 1):
        raw[f"experiments/e/models/less{number}"] = {
            "prune": parent,
            "layers": {"encoder": {"drop": drop, "by": "greedy"}},
        }
        parent = f"healed{number}"
        raw[f"experiments/e/models/{parent}"] = {"train": f"less{number}", "distil_from": "line", "max_steps": 3}
    models = {m.node: m for m in Plan(change(raw)).models.values()}
    assert [models[f"healed{n}"].depth for n in (1, 2, 3)] == [{"encoder": 5}, {"encoder": 4}, {"encoder": 3}]


@pytest.mark.parametrize("keep", ["all", "best", "none"])
def test_what_is_kept_is_no_part_of_any_model_or_job(change, keep):
    plan, kept = Plan(change({})), Plan(change({"experiments.e.models.tuned.keep": keep}))
    assert {m.id: m.spec for m in kept.models.values()} == {m.id: m.spec for m in plan.models.values()}
    gone = {(m.node, m.run == "best") for study in kept.studies.values() for m in going(study)}
    assert gone == {"all": set(), "best": {("tuned", False)}, "none": {("tuned", False), ("tuned", True)}}[keep]


def test_each_model_is_made_by_one_rule(small):
    """The rules tell their models apart by these patterns alone."""
    kinds = ("start", "train", "train on gpus", "train on nodes", "average", "ensemble", "choice", "prune", "export")
    for raw in [small, *(read([file]) for file in CONFIGURATIONS)]:
        plan = Plan(raw)
        patterns = {kind: re.compile(plan.pattern(kind)) for kind in kinds}
        for model in plan.models.values():
            made = [kind for kind, pattern in patterns.items() if pattern.fullmatch(model.id)]
            assert len(made) == 1 and made[0].startswith(
                model.stage if model.stage != "average" else ("average", "ensemble", "choice")
            )
            assert not any(pattern.fullmatch(f"{model.id}x") for pattern in patterns.values())
