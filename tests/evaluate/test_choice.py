"""Objectives, limits and the bootstrap behind them."""

import numpy as np
import pytest

from consomme.common.errors import ConsommeError
from consomme.evaluate.bootstrap import bootstrap, counts, unit_sums
from consomme.evaluate.choice import Choice, admissible, objective
from consomme.evaluate.metrics import metric_named


class Told:
    """An evaluator whose answers are given: (model, set, metric) -> statistics."""

    def __init__(self, told, units):
        self.told = told
        self.sets = {name: type("Rows", (), {"units": np.asarray(u)}) for name, u in units.items()}

    def statistics(self, model, name, metric):
        return np.asarray(self.told[model, name, metric], dtype=float)

    def value(self, model, name, metric, around=None):
        return float(metric_named(metric).value(self.statistics(model, name, metric).sum(axis=0)))


def errors(rate, n=200, length=10, seed=0):
    wrong = np.random.default_rng(seed).binomial(length, rate, n)
    return np.stack([wrong, np.full(n, length)], axis=1)


CHOICE = {
    "metric": "wer",
    "sets": {"medical": {"weight": 1.0}, "general": {"lose_at_most": 0.5, "of": "base"}},
}


def judged(base, other, lose_at_most, units=None):
    units = np.arange(len(base)) if units is None else units
    told = Told({("b", "general", "wer"): base, ("m", "general", "wer"): other}, {"general": units})
    settings = {
        "metric": "wer",
        "sets": {"medical": {"weight": 1}, "general": {"lose_at_most": lose_at_most, "of": "base"}},
    }
    return admissible(told, "m", {"base": (told, "b")}, Choice.parse(settings))


def test_the_objective_is_a_weighted_mean_and_higher_is_better():
    told = Told(
        {("m", "a", "wer"): [[1, 10]], ("m", "b", "wer"): [[4, 10]], ("m", "a", "loss"): [[6, 3]]}, {"a": [0], "b": [0]}
    )
    choice = Choice.parse({"metric": "wer", "sets": {"a": {"weight": 3.0}, "b": {"weight": 1.0}}})
    assert objective(told, "m", choice) == pytest.approx(-(3 * 10 + 40) / 4)
    assert objective(told, "m", {"metric": "loss", "sets": {"a": {"weight": 5}}}) == pytest.approx(-2)
    n = metric_named("bleu").statistics(["a b c d e"], ["a b c d e"], "verbatim")
    assert objective(
        Told({("m", "a", "bleu"): n}, {"a": [0]}), "m", {"metric": "bleu", "sets": {"a": {"weight": 2}}}
    ) == pytest.approx(100)


def test_the_same_statistics_lose_nothing():
    right, details = judged(errors(0.1), errors(0.1), 0.0)
    assert right
    assert details["general"]["bound"] == 0.0
    assert details["general"]["loss"] == 0.0


def test_clearly_worse_is_not_admissible_and_clearly_better_is():
    right, details = judged(errors(0.1), errors(0.2, seed=1), 0.5)
    assert not right
    assert details["general"]["loss"] == pytest.approx(details["general"]["value"] - details["general"]["reference"])
    assert details["general"]["bound"] > details["general"]["loss"] > 5
    right, details = judged(errors(0.2), errors(0.1, seed=1), 0.0)
    assert right
    assert details["general"]["bound"] < 0


def test_a_small_set_proves_less_than_a_large_one():
    assert not judged(errors(0.1, 30), errors(0.1, 30, seed=1), 1.0)[0]
    assert judged(errors(0.1, 20000), errors(0.1, 20000, seed=1), 1.0)[0]


def test_the_bound_is_that_of_normal_theory():
    base, other = errors(0.1, 4000), errors(0.12, 4000, seed=1)
    _, details = judged(base, other, 0.5)
    difference = 10.0 * (other[:, 0] - base[:, 0])  # all references are of one length, so the rate is a mean
    wanted = difference.mean() + 1.645 * difference.std() / np.sqrt(4000)
    assert details["general"]["bound"] == pytest.approx(wanted, abs=0.05)


def test_rows_of_a_unit_are_drawn_together():
    # each row six times over: by rows that looks like more evidence, by units it is the same
    base, other = errors(0.1, 100), errors(0.11, 100, seed=1)
    units = np.repeat(np.arange(100), 6)
    alone = judged(base, other, 0.5)[1]["general"]["bound"]
    together = judged(np.repeat(base, 6, axis=0), np.repeat(other, 6, axis=0), 0.5, units)[1]["general"]["bound"]
    apart = judged(np.repeat(base, 6, axis=0), np.repeat(other, 6, axis=0), 0.5)[1]["general"]["bound"]
    assert together == pytest.approx(alone)
    assert apart < alone


def test_a_limit_in_a_metric_where_higher_is_better():
    chrf = metric_named("chrf")
    references = [f"sentence number {i} of the set" for i in range(40)]
    good = chrf.statistics(references, references, "verbatim")
    bad = chrf.statistics(references, [r[:9] for r in references], "verbatim")
    told = Told({("b", "g", "chrf"): good, ("m", "g", "chrf"): bad}, {"g": np.arange(40)})
    settings = {
        "metric": "bleu",
        "sets": {"m": {"weight": 1}, "g": {"lose_at_most": 5, "of": "base", "metric": "chrf"}},
    }
    right, details = admissible(told, "m", {"base": (told, "b")}, settings)
    assert not right
    assert details["g"]["loss"] > 20
    assert admissible(told, "b", {"base": (told, "m")}, settings)[0]


def test_the_reference_is_asked_by_its_own_evaluator():
    """Its tokenizer may be another one than the candidate's."""
    units = {"general": np.arange(200)}
    candidates = Told({("m", "general", "wer"): errors(0.1)}, units)
    parents = Told({("b", "general", "wer"): errors(0.1, seed=1)}, units)
    _, details = admissible(candidates, "m", {"base": (parents, "b")}, CHOICE)
    for key, seed in (("value", 0), ("reference", 1)):
        assert details["general"][key] == pytest.approx(errors(0.1, seed=seed)[:, 0].sum() / 20)


def test_a_handful_of_units_is_refused_with_advice():
    with pytest.raises(ConsommeError, match=r"5 or more units, and its 8 rows make 1 .* leave 'document' out"):
        judged(errors(0.1, 8), errors(0.1, 8), 0.5, units=np.zeros(8, int))
    with pytest.raises(ConsommeError, match="its 8 rows make 4"):
        judged(errors(0.1, 8), errors(0.1, 8), 0.5, units=np.arange(8) // 2)
    assert judged(errors(0.1, 8), errors(0.1, 8), 0.5, units=np.arange(8))[0]


def test_a_missing_reference_and_a_choice_of_nothing():
    with pytest.raises(ConsommeError, match="of: base"):
        admissible(Told({}, {"general": [0, 1]}), "m", {"other": (None, "x")}, Choice.parse(CHOICE))
    with pytest.raises(ConsommeError, match="positive weight"):
        Choice.parse({"metric": "wer", "sets": {"general": {"lose_at_most": 0.5, "of": "base"}}})
    assert Choice.parse(CHOICE).references == ["base"]


def test_counts_are_resamples_and_repeat():
    blocks = np.concatenate(list(counts(30, 500, seed=3)))
    assert blocks.shape == (500, 30)
    assert (blocks.sum(axis=1) == 30).all()
    np.testing.assert_array_equal(blocks, np.concatenate(list(counts(30, 500, seed=3))))
    assert not np.array_equal(blocks, np.concatenate(list(counts(30, 500, seed=4))))
    # the blocks are the same stream whatever their size: drawn in order
    assert blocks.mean() == pytest.approx(1.0)
    assert blocks.var() == pytest.approx(29 / 30, rel=0.05)


def test_the_bootstrap_is_that_of_a_loop():
    statistics = errors(0.1, 12)
    units = np.array([7, 7, 3, 3, 3, 1, 0, 0, 9, 9, 9, 9])
    sums = unit_sums(statistics, units)
    np.testing.assert_array_equal(sums, [statistics[units == u].sum(axis=0) for u in (0, 1, 3, 7, 9)])
    wer = metric_named("wer")
    found = bootstrap(wer, [statistics], units, resamples=40)[0]
    drawn = np.concatenate(list(counts(5, 40)))
    slow = []
    for count in drawn:
        picked = np.concatenate(
            [statistics[units == u] for u, c in zip((0, 1, 3, 7, 9), count, strict=True) for _ in range(int(c))]
        )
        slow.append(100 * picked[:, 0].sum() / picked[:, 1].sum())
    np.testing.assert_allclose(found, slow)
