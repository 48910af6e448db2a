"""Optuna as the sampler of a sweep: where it looks, and that it looks there again."""

import json
import random

import pytest

from consomme.average import trials
from consomme.common import extras
from consomme.common.errors import ConsommeError

SPACE = {
    "rate": {"path": ["settings", "rate"], "low": 1e-5, "high": 1e-1, "log": True},
    "share": {"path": ["share"], "low": 0.0, "high": 1.0, "log": False},
    "method": {"path": ["settings", "method"], "choices": [None, 2, "right"], "floats": False},
}


def asked(generation, **more):
    return {"seed": 1, "batch": 4, "generation": generation, "space": SPACE} | more


def loss(values):
    """A bowl in the logarithm of the rate and in the share, with its bottom at 1e-3 and 0.25; the method adds to it."""
    import math

    return (math.log10(values["rate"]) + 3) ** 2 + 4 * (values["share"] - 0.25) ** 2 + (values["method"] != "right")


def trial(values, value):
    return {"values": values, "state": "failed" if value is None else "complete", "value": value}


@pytest.fixture
def start():
    draw = random.Random(0)
    points = [
        {"rate": 10 ** draw.uniform(-5, -1), "share": draw.random(), "method": draw.choice([None, 2, "right"])}
        for _ in range(4)
    ]
    return [trial(p, loss(p)) for p in points]


@pytest.mark.parametrize("sign", [1, -1])
def test_later_generations_lie_near_the_best_point(start, sign):
    told = [trial(t["values"], sign * t["value"]) for t in start]
    for generation in range(2, 9):
        found = trials.following(asked(generation), told, higher=sign < 0)
        assert len(found) == 4 and len({json.dumps(one) for one in found}) == 4
        told += [trial(one, sign * loss(one)) for one in found]
    first, last = (sum(loss(t["values"]) for t in part) / 8 for part in (told[:8], told[-8:]))
    assert last < 0.6 * first
    assert min(loss(t["values"]) for t in told) < 0.1
    assert sum(t["values"]["method"] == "right" for t in told[-8:]) >= 5


def test_values_are_within_the_bounds_and_have_four_digits(start):
    narrow = asked(2, batch=30, space={"x": {"path": ["x"], "low": 1.00004, "high": 1.00006, "log": False}})
    found = trials.following(narrow, [], higher=True)
    assert all(1.00004 <= one["x"] <= 1.00006 for one in found)
    found = trials.following(asked(2), start, higher=False)
    assert all(one["rate"] == float(f"{one['rate']:.4g}") for one in found)


def test_choices_keep_their_kind(start):
    for floats, kind in ((True, float), (False, int)):
        ones = {"x": {"path": ["x"], "choices": [1, 2], "floats": floats}}
        found = trials.following(asked(2, space=ones), [], higher=True)
        assert {type(one["x"]) for one in found} == {kind}


def test_the_same_trials_give_the_same_next_ones(start):
    found = trials.following(asked(2), start, higher=False)
    assert trials.following(asked(2), start, higher=False) == found
    assert trials.following(asked(2, seed=2), start, higher=False) != found
    assert trials.following(asked(3), start, higher=False) != found


def test_failed_trials_are_told_and_all_may_have_failed(start):
    failed = [trial(t["values"], None) for t in start]
    found = trials.following(asked(2), [*start[:2], *failed[2:]], higher=False)
    assert len(found) == 4
    assert len(trials.following(asked(2), failed, higher=False)) == 4


def test_a_study_records_its_trials_as_plain_json(tmp_path):
    runs = {}
    for name, rate in (("a", 1e-2), ("b", 1e-4), ("c", 1e-1)):
        runs[name] = tmp_path / name
        runs[name].mkdir()
        record = {"settings": {"rate": rate, "method": None}, "share": 1}
        (runs[name] / "provenance.json").write_text(json.dumps(record))
    # b has diverged and has no score; c's is not finite
    found = trials.study(asked(2, batch=3), runs, {"a": 12.5, "c": float("inf")}, "wer")
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert [(t["number"], t["run"], t["state"], t["value"]) for t in found["trials"]] == [
        (1, "a", "complete", 12.5),
        (2, "b", "failed", None),
        (3, "c", "failed", None),
    ]
    values = found["trials"][1]["values"]
    assert values == {"rate": 1e-4, "share": 1.0, "method": None}
    assert type(values["share"]) is float  # JSON had 1, which has another name in tables
    assert len(found["next"]) == 3 and set(found["next"][0]) == set(SPACE)
    assert found["sampler"]["higher_is_better"] is False and found["sampler"]["metric"] == "wer"


def test_after_a_part_of_a_generation_nothing_is_next(tmp_path):
    (tmp_path / "provenance.json").write_text(json.dumps({"settings": {"rate": 1e-4, "method": None}, "share": 0.5}))
    one, two = (trials.study(asked(2, batch=batch), {"a": tmp_path}, {"a": 9.0}, "wer") for batch in (1, 2))
    assert (len(one["next"]), two["next"]) == (1, [])
    assert one["trials"] == two["trials"]


def test_without_the_package_a_job_says_what_to_install(monkeypatch):
    monkeypatch.setattr(extras, "installed", lambda extra: False)
    with pytest.raises(ConsommeError, match=r"needs the package optuna.*\.\[optuna\]"):
        trials.study(asked(2), {}, {}, "wer")
