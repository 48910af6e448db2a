from collections import Counter

import numpy as np
import pytest

from consomme.train.pools import by_corpus, by_language
from consomme.train.sampler import Batches, draws

LENGTHS = {"a": np.arange(1, 41) * 7 % 41, "b": np.arange(1, 11)}


def batches(weights=(1.0, 1.0), size=4, seed=3, epoch=0, lengths=LENGTHS, grouped=False):
    rows = {name: np.arange(len(found)) for name, found in lengths.items()}
    pools = by_corpus(rows, dict(zip(lengths, weights, strict=True)))
    sampler = Batches(lengths, pools, size, seed, None, grouped)
    sampler.set_epoch(epoch)
    found = list(sampler)
    assert len(found) == len(sampler)
    return found


def drawn(found, name=None):
    return Counter((n, row) for batch in found for _, n, row in batch if name in (None, n))


@pytest.mark.parametrize("grouped", [False, True])
def test_an_epoch_holds_every_row_once_in_batches_of_the_wanted_size(grouped):
    found = batches(grouped=grouped)
    assert set(drawn(found).values()) == {1} and len(drawn(found)) == 50
    assert sorted(map(len, found)) == [2] + [4] * 12


def test_seed_and_epoch_alone_decide_the_order():
    assert batches(seed=3, epoch=2) == batches(seed=3, epoch=2)
    assert batches(seed=3, epoch=2) != batches(seed=3, epoch=1)
    assert batches(seed=3, epoch=2) != batches(seed=4, epoch=2)


@pytest.mark.parametrize(("weight", "count"), [(0.5, 20), (2.0, 80), (0.33, 13), (1.5, 60)])
def test_a_weight_is_the_share_of_the_corpus_that_an_epoch_draws(weight, count):
    for epoch in range(3):
        found = batches((weight, 1.0), epoch=epoch)
        assert drawn(found, "a").total() == count and drawn(found, "b").total() == 10


def test_successive_epochs_go_through_the_whole_corpus_before_any_row_comes_again():
    together = drawn([b for epoch in range(2) for b in batches((0.5, 1.0), epoch=epoch)], "a")
    assert len(together) == 40 and set(together.values()) == {1}
    assert set(drawn(batches((2.0, 1.0)), "a").values()) == {2}
    turns = {turn for batch in batches((2.0, 1.0)) for turn, name, _ in batch if name == "a"}
    assert turns == {0, 1}  # so that the two draws are augmented differently


def test_grouped_batches_hold_similar_lengths():
    lengths = {"a": np.random.default_rng(0).integers(10, 500, 1000)}
    found = batches((1.0,), size=16, lengths=lengths, grouped=True)
    room = sum(max(lengths["a"][row] for _, _, row in batch) * len(batch) for batch in found)
    assert 1 - lengths["a"].sum() / room < 0.1  # at random it is nearly a half
    first = [lengths["a"][batch[0][2]] for batch in found]
    assert abs(np.corrcoef(first, np.arange(len(first)))[0, 1]) < 0.3  # no order by length among the batches


def test_what_a_batch_holds_has_nothing_to_do_with_lengths():
    lengths = {"a": np.random.default_rng(0).integers(10, 500, 1000)}
    other = {"a": lengths["a"][::-1]}
    assert batches((1.0,), size=16, lengths=lengths) == batches((1.0,), size=16, lengths=other)


def test_a_corpus_beside_it_leaves_a_corpus_shuffle_alone():
    alone = [key for batch in batches((0.5,), lengths={"a": LENGTHS["a"]}) for key in batch]
    beside = [key for batch in batches((0.5, 1.0)) for key in batch if key[1] == "a"]
    assert sorted(alone) == sorted(beside)


# -- batches filled by length ------------------------------------------------------------------------------------------
LONG = {"a": np.random.default_rng(1).integers(10, 90, 300)}


def filled(room=200, epoch=0, lengths=LONG, grouped=False):
    pools = by_corpus({"a": np.arange(len(lengths["a"]))}, {"a": 1.0})
    sampler = Batches(lengths, pools, None, 3, room, grouped)
    sampler.set_epoch(epoch)
    return sampler, list(sampler)


def test_a_filled_batch_is_as_long_as_its_room_allows():
    lengths = LONG["a"]
    _, found = filled()
    taken = [sum(lengths[row] for _, _, row in batch) for batch in found]
    first = [lengths[batch[0][2]] for batch in found]
    assert max(taken) <= 200 and all(t + f > 200 for t, f in zip(taken, first[1:], strict=False))


def test_a_grouped_batch_has_room_for_its_longest_row_times_its_rows_and_no_more_fit():
    lengths = LONG["a"]
    sampler, found = filled(grouped=True)
    padded = [max(lengths[row] for _, _, row in batch) * len(batch) for batch in found]
    assert max(padded) <= 200 and len(found) == len(sampler)
    assert sum(padded) / len(padded) > 150  # little is left over
    assert 1 - lengths.sum() / sum(padded) < 0.1


@pytest.mark.parametrize("grouped", [False, True])
def test_epochs_of_filled_batches_have_one_number_and_leave_no_row_out(grouped):
    counts = {len(filled(epoch=e, grouped=grouped)[1]) for e in range(6)}
    assert counts == {len(filled(grouped=grouped)[0])}
    seen = drawn([b for e in range(8) for b in filled(epoch=e, grouped=grouped)[1]])
    assert len(seen) == 300 and set(seen.values()) <= {7, 8, 9}


@pytest.mark.parametrize("grouped", [False, True])
def test_a_row_longer_than_the_room_stands_alone(grouped):
    lengths = {"a": np.array([500] + [10] * 63)}
    _, found = filled(room=30, lengths=lengths, grouped=grouped)
    assert [(0, "a", 0)] in found and max(map(len, found)) == 3


# -- by language -------------------------------------------------------------------------------------------------------
ROWS = {"a": np.arange(900), "b": np.arange(160)}
SPOKEN = {"a": [("en",)] * 840 + [("fr",)] * 60, "b": [("fr",)] * 20 + [("sv",)] * 140}


def drawn_by_language(temperature, weights=(1.0, 1.0)):
    """Rows of each language in an epoch, counted in the sampler's batches."""
    pools = by_language(ROWS, dict(zip(ROWS, weights, strict=True)), SPOKEN, temperature)
    found = drawn(Batches({n: np.ones(len(r)) for n, r in ROWS.items()}, pools, 16, 0))
    languages = Counter()
    for (name, row), count in found.items():
        languages[SPOKEN[name][row][0]] += count
    return languages


def test_at_temperature_1_an_epoch_holds_every_row_once():
    assert drawn_by_language(1.0) == {"en": 840, "fr": 80, "sv": 140}


@pytest.mark.parametrize("temperature", [2.0, 5.0, 100.0])
def test_a_language_gets_its_share_by_the_temperature(temperature):
    """p ~ n^(1/T), as in the paper's equation; the epoch stays as long."""
    found, sizes = drawn_by_language(temperature), {"en": 840, "fr": 80, "sv": 140}
    raised = {name: n ** (1 / temperature) for name, n in sizes.items()}
    for name in sizes:
        assert found[name] == pytest.approx(1060 * raised[name] / sum(raised.values()), abs=1)
    assert found.total() == pytest.approx(1060, abs=2)


def test_weights_of_corpora_count_before_the_temperature():
    assert drawn_by_language(1.0, weights=(0.5, 2.0)) == {"en": 420, "fr": 70, "sv": 280}
    pools = {pool.name: draws(pool) for pool in by_language(ROWS, {"a": 0.5, "b": 2.0}, SPOKEN, 100.0)}
    assert pools["a fr"] / pools["b fr"] == pytest.approx(
        30 / 40, rel=0.05
    )  # one language, in its corpora's proportions
    assert pools["a en"] == pytest.approx(pools["b sv"], rel=0.02)


def test_a_rare_language_comes_again_only_when_all_of_it_has_come():
    pools = by_language(ROWS, dict.fromkeys(ROWS, 1.0), SPOKEN, 5.0)
    turns = Counter(
        turn
        for batch in Batches({n: np.ones(len(r)) for n, r in ROWS.items()}, pools, 16, 0)
        for turn, n, row in batch
        if SPOKEN[n][row] == ("fr",)
    )
    counts = drawn(Batches({n: np.ones(len(r)) for n, r in ROWS.items()}, pools, 16, 0))
    french = [counts[n, row] for n in ROWS for row in ROWS[n] if SPOKEN[n][row] == ("fr",)]
    assert max(french) - min(french) <= 1 and len(turns) > 1  # each turn is augmented differently
