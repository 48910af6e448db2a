"""What a digest holds: a change moves what it touches and nothing else."""

import subprocess
import sys

import pytest

from consomme.plan.plan import Plan
from consomme.plan.problems import ConfigurationError


@pytest.fixture
def moved(small, change, digests):
    """The models (without replicate) whose digests a change moves, of those that stand in both."""

    def found(settings):
        before, after = digests(small), digests(change(settings))
        return {name.partition("/")[2] for name in before if name in after and before[name] != after[name]}

    return found


AFTER_TUNED = {"tuned/best", "soup", "mean", "line", "half", "healed", "out"}
TUNED = {f"tuned/data.share={s},learning_rate={r}" for s in ("0.5", "1.0") for r in ("1e-05", "3e-05")}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"experiments.e.models.tuned.max_steps": 5}, TUNED | AFTER_TUNED),
        ({"experiments.e.models.mean.average": ["tuned"]}, set()),
        ({"experiments.e.models.soup.choose_on": {"a": "best"}}, {"soup", "line", "half", "healed", "out"}),
        ({"experiments.e.models.half.layers": {"encoder": {"drop": "1/3", "by": "uniform"}}}, {"half", "healed", "out"}),
        ({"experiments.e.models.healed.augment": {"spec_augment": True}}, {"healed", "out"}),
        # a decoding setting: models whose choice rests on decoding, and what is made of them
        ({"experiments.e.decoding": {"num_beams": 2}}, {"tuned/best", "soup", "line", "half", "healed", "out"}),
        # how a training is run, and who watches it
        ({"experiments.e.models.base.gradient_checkpointing": True, "experiments.e.models.base.track": "wandb"}, set()),
        ({"experiments.e.models.base.gpus": 4, "experiments.e.models.base.nodes": 2}, set()),
        ({"experiments.e.models.base.save_minutes": 30, "experiments.e.models.mean.quorum": 3}, set()),
        ({"corpora.a-test.size": 11}, set()),
        ({"corpora.b-dev.size": 11}, {"tuned/best", "soup", "line", "half", "healed", "out"}),
        ({"corpora.b-train.size": 21}, TUNED | AFTER_TUNED),
        ({"experiments.e.claims": [{"model": "mean", "beats": "base", "on": "a"}]}, set()),
        ({"experiments/e/data/test": {"b": "b-test", "all": ["a-test", "b-test"]}, "experiments.e.claims": []}, set()),
    ],
)  # fmt: skip
def test_a_change_moves_what_it_touches(moved, settings, expected):
    # an export looks at a development set, so a changed decoding or set moves it as well
    assert moved(settings) == expected


def test_a_value_added_to_a_sweep_leaves_the_old_runs_alone(moved):
    grid = {"learning_rate": ["1e-5", "3e-5", "1e-4"], "data.share": [0.5, 1.0]}
    assert moved({"experiments.e.models.tuned.sweep": {"grid": grid}}) == AFTER_TUNED


def test_a_change_back_finds_the_old_models(small, change, digests):
    assert digests(change({"experiments.e.models.tuned.max_steps": 4})) == digests(small)


def test_keys_of_corpora_that_came_later_are_no_identity_until_they_are_used(change):
    def settings(**more):
        corpus = {"source": "hub", "name": "someone/pairs", **more}
        plan = Plan(change({"corpora.a-train": corpus}))
        return next(c.settings for c in plan.corpora.values() if c.name == "a-train")

    assert not {"streaming", "missing"} & settings().keys()
    assert settings(streaming=False) == settings() and settings(streaming=True)["streaming"]


def test_timestamps_and_previous_text_are_no_identity_until_they_are_used(small, change, digests):
    raw = {"experiments.e.models.raw.from": {"scratch": {"family": "whisper"}}, "experiments.e.models.half": None}
    raw |= {f"experiments.e.models.{name}": None for name in ("healed", "out")} | {"experiments.e.claims": []}
    without = digests(change(raw))
    assert digests(change(raw | {"experiments.e.models.base.previous_text": 0})) == without
    found = digests(change(raw | {"experiments.e.models.base.previous_text": 0.2}))
    assert {name for name in found if found[name] != without[name]} == found.keys() - {"1/raw"}


def test_what_trainings_use_beside_the_words_is_measured(change):
    def besides(**more):
        raw = {"experiments.e.models.raw.from": {"scratch": {"family": "whisper"}}, "experiments.e.models.half": None}
        raw |= {f"experiments.e.models.{name}": None for name in ("healed", "out")} | {"experiments.e.claims": []}
        evaluations = Plan(change(raw | more)).studies["e"].evaluations
        (found,) = {tuple(e.settings.get("besides", ())) for e in evaluations}
        return found

    assert besides() == ()
    assert besides(**{"experiments.e.models.base.previous_text": 0}) == ("previous_text",)
    grid = {"grid": {"previous_text": [0.1, 0.2]}}
    assert besides(**{"experiments.e.models.tuned.sweep": grid}) == ("previous_text",)


def test_other_ways_of_decoding_are_left_to_what_is_no_run_of_a_sweep(small):
    evaluations = Plan(small).studies["e"].evaluations
    without = {e.model.name for e in evaluations if e.settings.get("ways") is False}
    assert without and without == {e.model.name for e in evaluations if e.model.run and e.model.run != "best"}


def test_other_ways_of_decoding_are_for_the_models_that_are_named(change):
    def tried(wanted):
        evaluations = Plan(change({"experiments.e.other_ways": wanted})).studies["e"].evaluations
        return {e.model.name for e in evaluations if e.settings.get("ways", True)}

    assert tried([]) == set()
    assert tried(["healed", "tuned/best"]) == {"healed", "tuned/best"}
    runs = tried(["tuned"])
    assert len(runs) > 2 and {name.partition("/")[0] for name in runs} == {"tuned"}
    with pytest.raises(ConfigurationError, match=r"other_ways\[0\]: there is no model 'heald' .did you mean 'healed'"):
        tried(["heald"])


def test_a_precision_that_is_not_given_is_no_identity(small, change, digests):
    def decodings(**more):
        return {e.settings["decoding_digest"] for e in Plan(change(more)).studies["e"].evaluations}

    assert "precision" not in Plan(small).studies["e"].evaluations[0].settings["decoding"]
    assert len(decodings() | decodings(**{"experiments.e.decoding": {"precision": "bfloat16"}})) == 2


def test_spelling_order_and_labels_are_no_identity(small, change, digests):
    respelt = change({
        "experiments.e.models.tuned.sweep": {"grid": {"data.share": ["1/2", 1], "learning_rate": ["0.00001", "3.0e-5"]}},
        "experiments.e.models.tuned.max_steps": "4",
        "experiments.e.models.half.layers": {"encoder": {"by": "uniform", "drop": 0.5}},
    })  # fmt: skip
    respelt["experiments"]["e"]["models"] = dict(reversed(respelt["experiments"]["e"]["models"].items()))
    assert digests(respelt) == digests(small)
    # another name for the experiment and another place for the data: the same digests
    renamed = dict(respelt, experiments={"other": respelt["experiments"]["e"]}, data_root="/elsewhere")
    assert digests(renamed) == digests(small)


def test_an_augmentation_that_is_not_named_is_no_identity_and_a_policy_is_what_it_stands_for(change, digests):
    def found(augment):
        plan = Plan(change({"experiments.e.models.healed.augment": augment}))
        (healed,) = (m for m in plan.studies["e"].models if m.node == "healed")
        return healed.identity["settings"]["augment"], healed.digest

    assert found({})[0] == {}
    assert found({"noise": True})[0] == {"noise": {"snr": (5.0, 20.0), "probability": 0.5}}
    written = {
        "time_warp": 80,
        "frequency_width": 27,
        "frequency_masks": 2,
        "time_frames": 100,
        "time_width": 1.0,
        "time_masks": 2,
    }
    assert (
        found({"spec_augment": "LD"}) == found({"spec_augment": {"policy": "LD"}}) == found({"spec_augment": written})
    )
    assert found({"spec_augment": "LD"})[0] == {"spec_augment": written}
    assert found({"spec_augment": {"policy": "LD", "time_warp": 0}}) == found(
        {"spec_augment": {**written, "time_warp": 0}}
    )


def test_policies_can_be_swept(change):
    sweep = {"grid": {"augment.spec_augment": [False, "LB", "SM"]}}
    plan = Plan(
        change(
            {"experiments.e.models.healed.sweep": sweep, "experiments.e.models.out": None, "experiments.e.claims": []}
        )
    )
    runs = {m.run for m in plan.studies["e"].models if m.node == "healed"}
    assert {run.rpartition("=")[2] for run in runs} == {"false", "LB", "SM", "best"}


def test_the_recordings_of_augmentations_are_inputs_with_what_lies_below(tmp_path, change):
    (tmp_path / "rooms" / "small").mkdir(parents=True)
    (tmp_path / "rooms" / "small" / "one.wav").write_bytes(b"")
    augment = {"reverb": {"folder": "rooms"}, "noise": {"folder": "noises"}}
    plan = Plan(change({"data_root": str(tmp_path), "experiments.e.models.healed.augment": augment}))
    (healed,) = (m for m in plan.studies["e"].models if m.node == "healed")
    assert sorted(healed.sources) == [str(tmp_path / "noises"), str(tmp_path / "rooms/small/one.wav")]


def test_another_replicate_is_another_model_beside(change, digests):
    found = digests(change({"experiments.e.repeat": [1, 2]}))
    one, two = ({k[2:]: v for k, v in found.items() if k.startswith(r)} for r in "12")
    assert one.keys() == two.keys() and not set(one.values()) & set(two.values())


def test_a_fetched_base_is_one_folder_for_all_replicates(change):
    plan = Plan(
        change({"experiments.e.repeat": [1, 2], "experiments/e/models/raw": {"from": {"hub": "someone/model"}}})
    )
    assert len({m.folder for s in plan.studies.values() for m in s.models if m.node == "raw"}) == 1


def test_an_experiment_added_leaves_the_others(small, change, digests):
    raw = change({"experiments/f": small["experiments"]["e"]})
    e = {n: m.digest for n, m in ((m.name, m) for m in Plan(raw).studies["e"].models)}
    assert e == {m.name: m.digest for m in Plan(small).studies["e"].models}


def test_corpora_are_shared_by_digest(small, change):
    raw = change({"experiments/f": small["experiments"]["e"]})
    assert len(Plan(raw).corpora) == len(Plan(small).corpora) == 6


def test_planning_imports_nothing_heavy_and_is_quick():
    code = (
        "import sys; import consomme.plan.plan, consomme.plan.look, consomme.data.sources;"
        "print(sorted({m.partition('.')[0] for m in sys.modules} & {'torch','numpy','pandas','transformers','datasets','pyarrow'}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
