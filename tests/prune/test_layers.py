"""Which layers: known answers and what holds for every depth."""

import math
import random
from fractions import Fraction
from itertools import combinations, pairwise

import pytest

from consomme.common.errors import ConsommeError
from consomme.prune.choosers import TABLE, chooser_named
from consomme.prune.choosers.base import Question
from consomme.prune.layers import from_one, layers_to_drop, listed, share


def _dropped(name, depth, drop):
    return from_one(TABLE[name].choose(Question(depth, drop))[0])


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

    gone, trace = TABLE["greedy"].choose(Question(5, 2, objective=objective))
    assert gone == [1, 4]  # of the equals 2 and 4 the lower goes first; then 4 has become dear
    assert [(t["step"], t["layer"], t["objective"]) for t in trace] == [(1, 2, 13.0), (2, 5, 10.0)]
    assert len(asked) == len(set(asked)) == 5 + 4


def test_greedy_keeps_what_can_not_be_measured_without():
    question = Question(3, 1, objective=lambda kept: float("nan") if 0 not in kept else -len(kept))
    assert TABLE["greedy"].choose(question)[0] == [1]


def _random_objective(seed):
    """A value for each set, without any order in it, and the list of what was asked."""
    asked = []

    def objective(kept):
        asked.append(tuple(kept))
        return random.Random(f"{seed} {tuple(kept)}").random()

    return objective, asked


def _value(objective, depth, gone):
    return objective([n for n in range(depth) if n not in gone])


def test_a_beam_finds_what_the_best_first_step_hides():
    # without layer 1 it looks best, but only 2 and 3 go together
    worth = {(1, 2, 3): 3, (0, 2, 3): 2, (0, 1, 3): 1, (0, 1, 2): 0, (0, 3): 9}

    def objective(kept):
        return worth.get(tuple(kept), -1)

    greedy, _ = TABLE["greedy"].choose(Question(4, 2, objective=objective))
    assert greedy[0] == 0
    gone, trace = TABLE["greedy"].choose(Question(4, 2, objective=objective, settings=TABLE["greedy"].settings(beam=2)))
    assert gone == [1, 2]
    assert [(t["step"], t["layers"]) for t in trace[:3]] == [(1, [1]), (1, [2]), (2, [2, 3])]


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_as_wide_as_all_sets_is_a_whole_search(seed):
    objective, asked = _random_objective(seed)
    gone, _ = TABLE["greedy"].choose(Question(6, 3, objective=objective, settings=TABLE["greedy"].settings(beam=20)))
    assert len(asked) == len(set(asked)) == 6 + 15 + 20
    assert _value(objective, 6, gone) == max(_value(objective, 6, g) for g in combinations(range(6), 3))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("beam", [1, 3])
def test_swaps_never_do_harm_and_end_where_no_swap_helps(seed, beam):
    objective, asked = _random_objective(seed)
    before, _ = TABLE["greedy"].choose(
        Question(8, 4, objective=objective, settings=TABLE["greedy"].settings(beam=beam))
    )
    asked.clear()
    gone, trace = TABLE["greedy"].choose(
        Question(8, 4, objective=objective, settings=TABLE["greedy"].settings(beam=beam, swaps=True))
    )
    assert len(asked) == len(set(asked))
    best = _value(objective, 8, gone)
    swaps = [t for t in trace if "swap" in t]
    there = set(before)
    for swap, value in zip(swaps, [_value(objective, 8, before), *(s["objective"] for s in swaps)], strict=False):
        assert swap["objective"] > value
        there = there - {swap["back"] - 1} | {swap["layer"] - 1}
    assert there == set(gone) and best >= _value(objective, 8, before)
    for out in set(range(8)) - set(gone):
        assert all(_value(objective, 8, set(gone) - {back} | {out}) <= best for back in gone)


@pytest.mark.parametrize("chooser, options", [("greedy", {}), ("greedy", {"swaps": True}), ("random_search", {})])
def test_a_rank_is_the_place_among_all_that_was_tried(chooser, options):
    objective, asked = _random_objective(1)
    found = [
        TABLE[chooser].choose(Question(6, 3, 1, objective, settings=TABLE["greedy"].settings(rank=rank, **options)))
        for rank in (1, 2, 3)
    ]
    tried = sorted({objective(kept) for kept in set(asked) if len(kept) == 3}, reverse=True)
    assert [_value(objective, 6, gone) for gone, _ in found] == tried[:3]
    assert [t["objective"] for t in found[2][1] if "rank" in t] == tried[:3]
    assert not any("rank" in t for t in found[0][1])


def test_no_set_has_a_rank_beyond_those_tried():
    with pytest.raises(ConsommeError, match="rank: 5 given; the search tries 4 sets"):
        TABLE["greedy"].choose(Question(5, 2, objective=lambda kept: 0.0, settings=TABLE["greedy"].settings(rank=5)))
    assert (
        TABLE["greedy"].tries(Question(5, 2)) == 4
        and TABLE["greedy"].tries(Question(5, 2, settings=TABLE["greedy"].settings(beam=2))) == 10
    )
    assert TABLE["random_search"].tries(Question(12, 3)) == 12 + 11 + 10


@pytest.mark.parametrize("chooser", ["greedy", "leave_one_out", "random_search"])
def test_a_search_says_what_its_next_questions_are_near_to(chooser):
    """So that what they begin with need not be computed again."""
    near, shared = [], []

    def objective(kept):
        shared.append(next((i for i, (a, b) in enumerate(zip(near[-1], kept, strict=False)) if a != b), len(kept)))
        return float(sum(kept))

    TABLE[chooser].choose(Question(9, 3, 1, objective, near=lambda kept: near.append(tuple(kept))))
    assert sum(shared) >= len(shared) * 3  # of 6 to 8 layers


def test_learned_lets_the_lowest_scores_go():
    asked = []

    def learnt(drop, seed):
        asked.append((drop, seed))
        return [0.3, -1.0, 2.0, -1.0, 0.1], [{"step": 10, "loss": 1.5}]

    gone, trace = TABLE["learned"].choose(Question(5, 2, 7, learnt=learnt))
    assert gone == [1, 3] and asked == [(2, 7)]
    assert trace[0] == {"step": 10, "loss": 1.5} and trace[3] == {"layer": 3, "score": 2.0}


def test_leave_one_out_asks_once_for_each_layer_and_is_blind_to_pairs():
    worth = [5, 1, 4, 1, 3]
    asked = []

    def objective(kept):
        asked.append(tuple(kept))
        return sum(worth[k] for k in kept) - 10 * (1 not in kept and 3 not in kept)

    gone, trace = TABLE["leave_one_out"].choose(Question(5, 2, objective=objective))
    assert gone == [1, 3] and len(asked) == 5  # greedy sees that the two stand in for each other
    assert [t["objective"] for t in trace] == [9, 13, 10, 13, 11]


@pytest.mark.parametrize(
    ("depth", "drop", "kept"),
    [(12, 6, [0, 2, 4, 7, 9, 11]), (6, 4, [0, 5]), (6, 5, [0]), (5, 2, [0, 2, 4]), (24, 20, [0, 8, 15, 23])],
)
def test_spaced_keeps_the_ends(depth, drop, kept):
    gone, _ = TABLE["spaced"].choose(Question(depth, drop))
    assert [n for n in range(depth) if n not in gone] == kept


def test_a_draw_depends_on_the_seed_alone():
    draws = {seed: TABLE["random"].choose(Question(18, 9, seed))[0] for seed in range(20)}
    assert draws == {seed: TABLE["random"].choose(Question(18, 9, seed))[0] for seed in range(20)}
    assert len({tuple(d) for d in draws.values()}) > 15
    assert all(len(set(d)) == 9 and d == sorted(d) and set(d) <= set(range(18)) for d in draws.values())


def test_random_search_evaluates_as_often_as_greedy_and_takes_the_best():
    asked = []

    def objective(kept):
        asked.append(tuple(kept))
        return float(sum(kept))

    gone, trace = TABLE["random_search"].choose(Question(12, 3, 1, objective))
    assert len(asked) == len(set(asked)) == len(trace) == 12 + 11 + 10
    assert sum(n for n in range(12) if n not in gone) == max(t["objective"] for t in trace)
    few, trace = TABLE["random_search"].choose(Question(3, 2, 1, lambda kept: float(kept[0])))
    assert len(trace) == 3 and few == [0, 1]  # there are only three choices, and all are tried


def cosines(angles):
    """Of states that lie at these angles, in degrees, on a circle."""
    return [[math.cos(math.radians(a - b)) for b in angles] for a in angles]


def test_similarity_takes_the_layers_that_turn_the_state_least():
    states = cosines([0, 40, 45, 75, 77, 117])  # the layers turn by 40, 5, 30, 2, 40 degrees
    gone, trace = TABLE["similarity"].choose(Question(5, 2, similarity=lambda: states))
    assert gone == [1, 3]
    assert [t["influence"] for t in trace] == pytest.approx([1 - math.cos(math.radians(a)) for a in (40, 5, 30, 2, 40)])


def test_angular_takes_the_block_whose_ends_are_nearest():
    states = cosines([0, 40, 45, 15, 55, 95])  # layers 2 and 3 turn to and fro: one by one they count, together not
    gone, trace = TABLE["angular"].choose(Question(5, 2, similarity=lambda: states))
    assert gone == [2, 3]
    assert [t["angle"] for t in trace] == pytest.approx([45 / 180, 25 / 180, 10 / 180, 80 / 180])


def test_unknown_choosers_are_named():
    with pytest.raises(ConsommeError, match="did you mean 'uniform'"):
        chooser_named("unifrom")
