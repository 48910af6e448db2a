"""Sweeps that stop runs early: their jobs, what a change of them moves, and what can't be asked of them."""

import re

import pytest

from consomme.plan import rungs
from consomme.plan.look import overview
from consomme.plan.plan import Plan
from consomme.plan.problems import ConfigurationError

TUNED = "experiments.e.models.tuned"
RATES = [1e-5, 2e-5, 3e-5, 4e-5]
SLERP = {"average": "tuned", "method": "slerp", "alpha": 0.5}


def sweep(rates=RATES, **halving):
    return {"grid": {"learning_rate": rates}, "halving": {"rungs": [2, 4, 8], "keep": "1/2"} | halving}


@pytest.fixture
def halved(change):
    """The plan of the small configuration with halving. more: other keys of it."""

    def made(given=None, **more):
        return Plan(change({f"{TUNED}.sweep": given or sweep(), f"{TUNED}.max_steps": 8} | more))

    return made


def jobs(plan):
    """Kind, step and rate of the jobs of the sweep and its best -> job. kind: train or choose."""
    found = {}
    for job in plan.studies["e"].jobs:
        if job.node == "tuned" and job.stage == "train":
            found["train", rungs.end(job), job.swept["learning_rate"]] = job
        elif job.node == "tuned":
            found["choose", job.identity["settings"].get("keep"), ""] = job
    return found


def moved(before, after):
    """The jobs of `after` that are not in `before`: by kind and step (keep of a choice), with their number; and those of them
    that find what they compute done."""
    old, new = jobs(before), jobs(after)
    ids, states = {j.id for j in old.values()}, {j.state_id for j in old.values() if j.stage == "train"}
    made, found = {}, {}
    for (kind, step, _), job in new.items():
        if job.id not in ids:
            made[kind, step] = made.get((kind, step), 0) + 1
            if job.state_id in states:
                found[kind, step] = found.get((kind, step), 0) + 1
    return made, found


def test_each_run_has_a_job_a_rung_and_each_rung_but_the_last_a_choice(halved):
    plan = halved()
    found = jobs(plan)
    steps = {(kind, step) for kind, step, _ in found}
    assert steps == {("train", 2), ("train", 4), ("train", 8), ("choose", 2), ("choose", 1), ("choose", None)}
    assert len(found) == 3 * 4 + 3
    last = found["train", 8, 1e-5]
    assert [rungs.end(job) for job in rungs.jobs(last) if job.stage == "train"] == [2, 4, 8]
    assert {label.split("/")[0] for label in last.inputs} == {"parent", "rung", "choice", "corpus"}
    # what is made of the sweep, and shown, knows the last rung alone
    assert [m.id for m in plan.studies["e"].models if m.run and m.stage == "train"] == [
        found["train", 8, rate].id for rate in RATES
    ]
    assert {m.id for m in plan.models.values()} >= {job.id for job in found.values()}


def test_no_test_set_is_an_input_of_a_rung_or_a_choice(halved):
    corpora = {c.name for job in jobs(halved()).values() for c in job.corpora.values()}
    assert corpora == {"b-train", "a-dev", "b-dev"}


def test_another_keep_trains_no_rung_again_that_was_trained(halved):
    made, found = moved(halved(), halved(sweep(keep="3/4")))
    # 3 and 2 of 4 go on instead of 2 and 1; the first rung is there
    assert made == {("choose", 3): 1, ("train", 4): 4, ("choose", 2): 1, ("train", 8): 4, ("choose", None): 1}
    assert found == {("train", 4): 4, ("train", 8): 4}
    # as many runs by another word
    assert moved(halved(), halved(sweep(keep=0.6))) == ({}, {})


def test_a_rung_in_between_trains_only_that_one_anew(halved):
    made, found = moved(halved(), halved(sweep(rungs=[2, 4, 6, 8])))
    assert ("train", 2) not in made and ("train", 4) not in made
    assert made[("train", 6)] == 4 and made[("train", 8)] == 4
    assert found == {("train", 8): 4}


def test_a_longer_last_rung_is_another_schedule(halved):
    made, found = moved(halved(), halved(sweep(rungs=[2, 4, 9]), **{f"{TUNED}.max_steps": 9}))
    assert {(kind, n) for (kind, _), n in made.items() if kind == "train"} == {("train", 4)} and found == {}


def test_a_value_added_finds_all_that_was_trained(halved):
    made, found = moved(halved(), halved(sweep(rates=[*RATES, 5e-5])))
    assert made == {
        ("train", 2): 1,
        ("choose", 2): 1,
        ("train", 4): 5,
        ("choose", 1): 1,
        ("train", 8): 5,
        ("choose", None): 1,
    }
    assert found == {("train", 4): 4, ("train", 8): 4}


def test_the_order_of_values_and_names_is_no_identity(halved):
    assert moved(halved(), halved(sweep(rates=RATES[::-1])))[0] == {("choose", None): 1}  # as of any sweep


def test_without_halving_runs_that_reached_the_end_are_found(halved):
    made, found = moved(halved(), halved({"grid": {"learning_rate": RATES}}))
    assert made == {("train", 8): 4, ("choose", None): 1} and found == {("train", 8): 4}


def test_random_draws_and_points_are_halved_too(halved):
    drawn = {"random": {"n": 6, "learning_rate": {"log_uniform": [1e-5, 1e-3]}}}
    listed = {"points": [{"learning_rate": rate} for rate in RATES]}
    for runs, given in ((6, drawn), (4, listed)):
        assert len(jobs(halved(given | {"halving": sweep()["halving"]}))) == 3 * runs + 3


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({f"{TUNED}.sweep": sweep(rungs=[4, 4, 8])}, r"tuned.sweep.halving.rungs: .*each is higher than the one before"),
        ({f"{TUNED}.sweep": sweep(rungs=[0, 8])}, r"tuned.sweep.halving.rungs: rungs are steps, from 1"),
        ({f"{TUNED}.sweep": sweep(rungs=[8])}, r"tuned.sweep.halving.rungs: .*at least 2"),
        ({f"{TUNED}.sweep": sweep(keep=1)}, r"tuned.sweep.halving.keep: .*strictly between 0 and 1"),
        ({f"{TUNED}.sweep": sweep(keep=0)}, r"tuned.sweep.halving.keep: .*strictly between 0 and 1"),
        ({f"{TUNED}.sweep": sweep(keeps=1)}, r"tuned.sweep.halving.keeps: unknown key \(did you mean 'keep'"),
        ({f"{TUNED}.sweep": sweep(rungs=[2, 4, 9])}, r"tuned.sweep.halving.rungs: the last rung is 9 and max_steps 8"),
        ({f"{TUNED}.max_steps": None, f"{TUNED}.num_train_epochs": 3}, r"tuned.num_train_epochs: .*give max_steps: 8"),
        ({f"{TUNED}.sweep": sweep(rates=[1e-5])}, r"tuned.sweep.halving: .*there is only one run"),
        (
            {f"{TUNED}.eval_steps": 2, f"{TUNED}.early_stopping_patience": 1},
            r"tuned.early_stopping_patience: has no place beside sweep.halving: it would stop runs by a second rule",
        ),
        ({f"{TUNED}.eval_steps": 2, f"{TUNED}.load_best_model_at_end": True}, r"tuned.load_best_model_at_end: .*halving"),
        ({f"{TUNED}.checkpoints": {"every": 2, "last": 2}}, r"tuned.checkpoints: has no place beside sweep.halving"),
        ({"experiments.e.models.half": {"prune": "base", "sweep": sweep()}}, r"half.sweep.halving: unknown key"),
        ({"experiments.e.models.mean.choose": sweep()}, r"mean.choose.halving: unknown key"),
        # whether a run reaches the end is not known before
        ({"experiments.e.models.half.prune": "tuned"}, r"models.half.prune: 'tuned' is a sweep with halving, .*name tuned/best"),
        ({"experiments.e.models.healed.train": "tuned"}, r"models.healed.train: 'tuned' is a sweep with halving"),
        ({"experiments.e.models.mean.where": {"learning_rate": 1e-5}}, r"mean.average: tuned/.* is one of a sweep"),
        ({"experiments.e.models.mean.by": "learning_rate"}, r"mean.average: tuned/.* is one of a sweep with halving"),
        ({"experiments.e.models.mean": SLERP}, r"mean.average: .*'slerp' takes exactly 2 models, 1 given"),
    ],
)  # fmt: skip
def test_what_is_refused_by_its_key(change, more, words):
    raw = {f"{TUNED}.sweep": sweep(), f"{TUNED}.max_steps": 8} | more
    for key in [key for key, value in raw.items() if value is None and key.endswith("max_steps")]:
        raw = {key: value for key, value in raw.items() if value is not None} | {key: None}
    with pytest.raises(ConfigurationError, match=words):
        Plan(change(raw))


def test_a_run_named_by_itself_may_be_stopped_and_is_a_model_all_the_same(halved):
    one = "tuned/learning_rate=1e-05"
    plan = halved(**{"experiments.e.models.half.prune": one})
    assert next(m for m in plan.studies["e"].models if m.node == "half").parents[one].before


def test_two_that_reach_the_end_are_enough_for_what_takes_two(halved):
    two = sweep(rungs=[4, 8])
    assert halved(two, **{"experiments.e.models.mean": SLERP})
    # and too few for a landscape, for which three are needed
    assert halved({"grid": {"learning_rate": RATES}}).landscapes and not halved(two).landscapes


def test_the_overview_counts_what_is_trained(halved, capsys):
    overview(halved())
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("tuned:"))
    # 4 * 2 + 2 * 2 + 1 * 4
    assert re.fullmatch(r"tuned: 4 to step 2, 2 to step 4, 1 to step 8; at most 16 steps, and 32 without halving", line)
