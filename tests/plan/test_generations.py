"""Sweeps with optuna: their jobs, what a change of them moves, and what can't be asked of them."""

import re

import pytest

from consomme.common import extras
from consomme.plan import trials
from consomme.plan.look import overview
from consomme.plan.plan import Plan
from consomme.plan.problems import ConfigurationError

TUNED = "experiments.e.models.tuned"
RATE = {"log_uniform": ["1e-5", "1e-3"]}
SHARE = [0.5, "3/4", 1]


def search(**more):
    given = {"n": 6, "batch": 2, "seed": 1, "learning_rate": RATE, "data.share": SHARE} | more
    return {"optuna": {key: value for key, value in given.items() if value is not None}}


@pytest.fixture
def searched(change):
    """The plan of the small configuration with a search. more: other keys of it."""

    def made(sweep=None, **more):
        return Plan(change({f"{TUNED}.sweep": sweep or search()} | more))

    return made


def runs(plan):
    """Number of a trial -> its model."""
    models = plan.studies["e"].models
    return {m.swept["trial"]: m for m in models if m.node == "tuned" and m.stage == "train"}


def ids(plan):
    return {job.id for job in plan.studies["e"].jobs}


def test_each_generation_but_the_first_reads_a_choice_among_all_runs_before_it(searched):
    found = runs(searched())
    assert [m.run for m in found.values()] == [f"trial={n}" for n in range(1, 7)]
    assert not found[1].before and not found[2].before
    for number, before in ((3, 2), (4, 2), (5, 4), (6, 4)):
        study = found[number].before["study"]
        assert list(study.parents.values()) == [found[n] for n in range(1, before + 1)]
        assert found[number].inputs["study/tuned/best"] == study.content
    assert found[3].before == found[4].before and found[3].id != found[4].id


def test_the_first_generation_is_that_of_a_random_sweep_and_the_values_of_others_are_open(searched):
    found = runs(searched())
    drawn = {"random": {"n": 2, "seed": 1, "learning_rate": RATE, "data.share": SHARE}}
    random = [m for m in searched(drawn).studies["e"].models if m.node == "tuned" and m.stage == "train"]
    assert [found[1].digest, found[2].digest] == [m.digest for m in random]
    assert [found[1].swept, found[2].swept] == [{"trial": n, **m.swept} for n, m in enumerate(random, 1)]
    assert found[3].swept == {"trial": 3} and trials.values(found[3]) == {}


def test_the_study_has_the_spaces_as_the_training_reads_them(searched):
    asked = trials.of(runs(searched())[5])
    assert (asked["seed"], asked["batch"], asked["generation"]) == (1, 2, 3)
    rate = {"path": ["settings", "learning_rate"], "low": 1e-5, "high": 1e-3, "log": True}
    assert asked["space"] == {
        "learning_rate": rate,
        "data.share": {"path": ["share"], "choices": [0.5, 0.75, 1.0], "floats": True},
    }


def test_more_trials_leave_the_old_ones_alone(searched):
    few, more = searched(search(n=5)), searched(search(n=8))
    old, new = runs(few), runs(more)
    assert [old[n].id for n in range(1, 6)] == [new[n].id for n in range(1, 6)]
    gone = {job.split("-")[0] for job in ids(few) - ids(more)}
    assert gone == {"tuned", "soup", "mean", "line", "half", "healed", "out"}  # tuned: its best
    added = [j for j in more.studies["e"].jobs if j.node == "tuned" and j.id not in ids(few)]
    assert len(added) == 3 + 1 + 1  # trials 6 to 8, their study, the best of all


@pytest.mark.parametrize("key, value", [("seed", 2), ("learning_rate", [1e-4, 1e-3]), ("batch", 3)])
def test_another_study_moves_every_later_trial(searched, key, value):
    old, new = runs(searched()), runs(searched(search(**{key: value})))
    assert not {old[n].id for n in range(3, 7)} & {m.id for m in new.values()}


def test_no_test_set_is_an_input_of_a_trial_or_its_study(searched):
    jobs = [job for job in searched().studies["e"].jobs if job.node == "tuned"]
    assert {c.name for job in jobs for c in job.corpora.values()} == {"b-train", "a-dev", "b-dev"}


@pytest.mark.parametrize(
    "sweep, key, words",
    [
        (search(n=1), "sweep.optuna", "n is 1 and batch 2"),
        (search(n=None), "sweep.optuna.n", "needed"),
        (search(batch=0), "sweep.optuna.batch", "greater than or equal to 1"),
        (search(n="many"), "sweep.optuna.n", "a number is needed"),
        ({"optuna": {"n": 4, "batch": 2}}, "sweep.optuna", "a key to search is needed"),
        (search(learning_rate={"normal": [0, 1]}), "sweep.optuna.learning_rate", "log_uniform"),
        (search(learning_rate={"uniform": [1e-3, 1e-5]}), "sweep.optuna.learning_rate", "must be below"),
        (search(learning_rate={"uniform": [-1e-9, 1e-3]}), "tuned.learning_rate", "given: -1e-09"),
        (search(max_steps={"uniform": [2, 8]}), "tuned.max_steps", "a whole number is needed here"),
        (search(learning_rat=RATE), "learning_rat", "learning_rate"),
        (
            search(augment=[{"speed": [0.9, 1.1]}, None]),
            "sweep.optuna.augment",
            "grid, points and random take any value",
        ),
        (search(train=["base", "raw"]), "sweep.optuna.train", "can't be searched"),
        (search(**{"data.train": ["a-train", "b-train"]}), "sweep.optuna.data.train", "can't be searched"),
        (search(gradient_checkpointing=[True, False]), "sweep.optuna.gradient_checkpointing", "can't be searched"),
        (search(batch=4, **{"learning_rate": [1e-4], "data.share": [0.5, 1]}), "sweep.optuna", "are drawn alike"),
        (search() | {"grid": {"learning_rate": [1e-4]}}, "sweep", "give one of grid, points, random, optuna"),
        (search() | {"halving": {"rungs": [2, 4], "keep": "1/2"}}, "sweep", "halving stops some"),
    ],
)
def test_what_a_search_refuses(searched, sweep, key, words):
    with pytest.raises(ConfigurationError) as error:
        searched(sweep)
    assert key in str(error.value).split(" ")[0] and words in str(error.value)


def test_only_trainings_are_searched(searched):
    with pytest.raises(ConfigurationError, match=r"soup.sweep"):
        searched(**{"experiments.e.models.soup.sweep": search()})


@pytest.mark.parametrize("key, value", [("where", {"learning_rate": 1e-4}), ("by", ["learning_rate"])])
def test_values_that_are_found_later_select_no_runs(searched, key, value):
    with pytest.raises(ConfigurationError, match="finds its values of 'learning_rate' while it runs; name tuned/best"):
        searched(**{f"experiments.e.models.mean.{key}": value})
    assert searched(**{"experiments.e.models.mean.where": {"trial": [1, 2]}})


def test_nor_do_those_of_models_that_were_made_of_such_runs(searched):
    tens = {"experiments.e.models.tens": {"prune": "tuned", "layers": {"encoder": {"drop": "1/2", "by": "uniform"}}}}
    where = {"experiments.e.models.mean": {"average": "tens", "where": {"learning_rate": 1e-4}}}
    with pytest.raises(ConfigurationError, match="finds its values of 'learning_rate' while it runs"):
        searched(**tens, **where)


def test_without_batch_a_generation_has_four_runs(searched):
    found = runs(searched(search(batch=None, n=8)))
    assert [bool(m.before) for m in found.values()] == [False] * 4 + [True] * 4


def test_the_best_of_all_is_asked_for_the_whole_study(searched):
    few, more = searched(search(n=4)), searched(search(n=6))
    (best,) = (m for m in few.studies["e"].models if m.name == "tuned/best")
    assert list(best.parents.values()) == list(runs(few).values())
    # so that more trials go on from there
    assert runs(more)[5].before["study"].id == best.id


def test_each_replicate_has_a_study_of_its_own(searched):
    plan = searched(**{"experiments.e.repeat": [1, 2]})
    trials = [m for m in plan.studies["e"].models if m.node == "tuned" and m.swept.get("trial") == 3]
    first, second = (m.before["study"] for m in trials)
    assert not {m.id for m in first.parents.values()} & {m.id for m in second.parents.values()}


def test_a_study_needs_a_development_set(searched):
    with pytest.raises(ConfigurationError, match=r"data\.dev: .*tuned needs a development set to choose on"):
        searched(**{"experiments.e.data.dev": {}})


def test_a_study_is_of_one_model(searched):
    sweep = {"grid": {"learning_rate": [1e-3, 1e-4]}}
    with pytest.raises(ConfigurationError, match=re.escape("tuned.train: names 2 models")):
        searched(**{"experiments.e.models.base.sweep": sweep})


@pytest.mark.parametrize("n", [2, 6])
def test_a_study_without_its_package_stops_a_run_and_says_so_once(searched, monkeypatch, n):
    monkeypatch.setattr(extras, "installed", lambda extra: extra != "optuna")
    with pytest.raises(ConfigurationError) as error:
        searched(search(n=n)).need_sources()
    line = f"{TUNED}.sweep.optuna: needs the package optuna: pip install -e '.[optuna]'"
    assert str(error.value).count(line) == 1


def test_the_overview_says_how_many_generations_there_are(searched, capsys):
    overview(searched(search(n=5)))
    assert "tuned: 5 trials in 3 generations, 2 side by side" in capsys.readouterr().out
