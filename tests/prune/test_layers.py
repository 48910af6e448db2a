"""Which layers: known answers and what holds for every depth."""

from fractions import Fraction
from itertools import pairwise

import pytest

from consomme.common.errors import ConsommeError
from consomme.prune.choosers import TABLE, chooser_named
from consomme.prune.layers import from_one, layers_to_drop, listed, share


def _dropped(name, depth, drop):
    return from_one(TABLE[name].choose(depth, drop, None)[0])


@pytest.mark.parametrize(
    "depth, fraction, expected",
    [
        (18, "1/3", [2, 5, 8, 11, 14, 17]),
        (18, "1/2", [2, 4, 6, 8, 10, 12, 14, 16, 18]),
        (18, "2/3", [2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18]),
        (6, "1/3", [2, 5]),
        (12, "1/4", [3, 7, 11]),
        (2, "1/2", [2]),
        (3, "1/3", [2]),
        (4, "3/4", [2, 3, 4]),
    ],
)
def test_uniform_drops_the_middle_of_each_group(depth, fraction, expected):
    assert _dropped("uniform", depth, layers_to_drop(share(fraction), depth)) == expected


@pytest.mark.parametrize("depth", range(2, 33))
def test_uniform_spreads_what_stays(depth):
    for drop in range(1, depth):
        gone = _dropped("uniform", depth, drop)
        assert len(set(gone)) == drop and 1 not in gone and set(gone) <= set(range(1, depth + 1))
        kept = [n for n in range(1, depth + 1) if n not in gone]
        if 2 * drop <= depth:  # never two neighbours, and groups differ by one at most
            gaps = [b - a for a, b in pairwise(gone)]
            assert all(g > 1 for g in gaps)
        else:
            gaps = [b - a for a, b in pairwise(kept)]
        assert not gaps or max(gaps) - min(gaps) <= 1


def test_truncate_takes_the_top():
    assert _dropped("truncate", 18, 3) == [16, 17, 18]


@pytest.mark.parametrize(
    "fraction, depth, count",
    [("1/3", 18, 6), ("0.33", 18, 6), ("1/2", 5, 3), ("1/10", 3, 1), ("9/10", 3, 2), ("1/4", 6, 2), ("0.5", 2, 1)],
)
def test_halves_are_rounded_up_and_one_goes_and_one_stays(fraction, depth, count):
    assert layers_to_drop(share(fraction), depth) == count


def test_shares_are_strictly_between_0_and_1():
    assert share(" 1 / 3 ") == share("1/3") == Fraction(1, 3)
    for wrong in ("0", "1", 2, "-1/2", "1/0", "half"):
        with pytest.raises(ConsommeError, match="drop"):
            share(wrong)
    with pytest.raises(ConsommeError, match="at least one layer"):
        layers_to_drop(Fraction(1, 2), 1)


def test_lists_count_from_one():
    assert listed("encoder", 6, {"keep": [6, 1, 4]}) == [0, 3, 5]
    assert listed("encoder", 4, {"drop": [2]}) == [0, 2, 3]


@pytest.mark.parametrize(
    "plan, message",
    [
        ({"keep": [0, 1]}, "there is no layer 0; the encoder has layers 1 to 6"),
        ({"drop": [7]}, "there is no layer 7"),
        ({"drop": [1, 2, 3, 4, 5, 6]}, "none of the 6 layers would stay"),
        ({"keep": [2, 2]}, "layer 2 is listed twice"),
        ({"keep": []}, "none of the 6"),
        ({"drop": []}, "empty"),
        ({"drop": 3}, r"such as \[3\], or a fraction"),
    ],
)
def test_lists_that_can_not_be(plan, message):
    with pytest.raises(ConsommeError, match=message):
        listed("encoder", 6, plan)


def test_greedy_takes_the_layer_that_is_missed_least_again_and_again():
    worth = [5, 1, 4, 1, 3]
    asked = []

    def objective(kept):
        asked.append(tuple(kept))
        # layers 2 and 4 can stand in for each other: either alone is worth nothing, both missing costs 10
        return sum(worth[k] for k in kept) - 10 * (1 not in kept and 3 not in kept)

    gone, trace = TABLE["greedy"].choose(5, 2, objective)
    assert gone == [1, 4]  # of the equals 2 and 4 the lower goes first; then 4 has become dear
    assert [(t["step"], t["layer"], t["objective"]) for t in trace] == [(1, 2, 13.0), (2, 5, 10.0)]
    assert len(asked) == len(set(asked)) == 5 + 4


def test_greedy_keeps_what_can_not_be_measured_without():
    assert TABLE["greedy"].choose(3, 1, lambda kept: float("nan") if 0 not in kept else -len(kept))[0] == [1]


def test_unknown_choosers_are_named():
    with pytest.raises(ConsommeError, match="did you mean 'uniform'"):
        chooser_named("unifrom")
