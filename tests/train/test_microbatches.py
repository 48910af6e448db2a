"""A batch in microbatches: every row once, the least cost, the same training as with whole batches."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from consomme.data.prepared import Rows
from consomme.families import family_of
from consomme.train.assemble import batches_of
from consomme.train.collate import Collator
from consomme.train.microbatches import PASS, microbatches
from consomme.train.stage import run
from consomme.train.trainer import AsrNmtTrainer


def cost(sizes, cut, per_pass):
    passes = len(cut) * per_pass * sizes.sum() / len(sizes)
    return sum(len(rows) * sizes[rows].max(0).sum() for rows in cut) + passes


def every_cut(order):
    """All ways to cut an order into pieces."""
    for places in range(2 ** (len(order) - 1)):
        ends = [0, *(i + 1 for i in range(len(order) - 1) if places >> i & 1), len(order)]
        yield [order[a:b] for a, b in pairwise(ends)]


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("per_pass", [0.1, 1.0, 3.0])
def test_of_all_cuts_of_the_rows_in_order_of_length_it_is_the_cheapest(sides, per_pass):
    rng = np.random.default_rng(sides)
    for _ in range(20):
        sizes = rng.integers(1, 40, (8, sides))
        found = microbatches(sizes, per_pass)
        assert sorted(np.concatenate(found)) == list(range(8))
        order = np.argsort(-sizes.max(1), kind="stable")
        assert cost(sizes, found, per_pass) == pytest.approx(min(cost(sizes, c, per_pass) for c in every_cut(order)))


def test_known_cuts():
    cut = lambda lengths, *given: [rows.tolist() for rows in microbatches(np.array(lengths)[:, None], *given)]  # noqa: E731
    assert cut([5, 5, 5, 5], 2.0) == [[0, 1, 2, 3]]
    assert cut([1, 100, 1, 100], 0.5) == [[1, 3], [0, 2]]
    assert cut([1, 100, 1, 100], 50.0) == [[1, 3, 0, 2]]
    assert cut([7], 2.0) == [[0]]


def test_no_piece_is_larger_than_the_room_but_a_row_that_is():
    sizes = np.random.default_rng(0).integers(5, 90, (60, 2))
    for rows in microbatches(sizes, 64.0, 300):
        assert len(rows) * sizes[rows].max() <= 300
    assert [len(rows) for rows in microbatches(np.array([[400], [10], [10]]), 64.0, 30)] == [1, 2]


def test_random_batches_waste_little():
    lengths = np.random.default_rng(0).lognormal(2.5, 0.5, (64, 1))
    whole = lengths.sum() / (64 * lengths.max())
    cut = microbatches(lengths, PASS["cpu"])
    assert whole < 0.5 and lengths.sum() / sum(len(rows) * lengths[rows].max() for rows in cut) > 0.85


@pytest.mark.parametrize("task", ["asr", "nmt"])
def test_a_training_is_the_same_in_whatever_microbatches(
    tmp_path, recogniser, translator, tones, pairs, job, monkeypatch, task
):
    parent, corpus = (recogniser, tones) if task == "asr" else (translator, pairs)
    # dropout would be drawn anew for each piece, and Adam makes a step of a gradient that is rounding alone
    options = {"max_steps": 6, "dropout": 0.0, "gradient_accumulation_steps": 2, "optim": "sgd", "learning_rate": 0.1}
    passes, plain = [], AsrNmtTrainer.compute_loss

    def counting(self, *given, **more):
        passes.append(1)
        return plain(self, *given, **more)

    monkeypatch.setattr(AsrNmtTrainer, "compute_loss", counting)
    trained = []
    for per_pass in (1000.0, 0.01):
        monkeypatch.setitem(PASS, "cpu", per_pass)
        made = job(tmp_path / str(per_pass), parent, {"c": corpus}, **options)
        run(made)
        trained.append((len(passes), load_file(made.out / "model.safetensors")))
        passes.clear()
    (whole, one), (many, other) = trained
    assert whole == 12 and many > 24
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
def test_the_strategy_reaches_the_batches(strategy):
    corpus = SimpleNamespace(lengths=np.random.default_rng(0).permutation(800), usable=np.arange(800))
    spec = {"settings": {"train_sampling_strategy": strategy, "per_device_train_batch_size": 8}, "train": {"c": 1.0}}
    spread = [np.ptp([corpus.lengths[row] for _, _, row in batch]) for batch in batches_of(spec, {"c": corpus}, 1)]
    assert max(spread) < 100 if strategy == "group_by_length" else min(spread) > 100


def test_a_piece_has_room_for_so_many_seconds(recogniser, tones):
    family, rows = family_of(recogniser), Rows.open([tones])
    processor = family.processor(recogniser, ["en"])
    examples = [
        {
            "features": family.features(processor, rows.source(i)),
            "labels": [1, 2],
            "seconds": len(rows.source(i)) / 16000,
        }
        for i in range(16)
    ]
    longest = max(e["seconds"] for e in examples)
    for fit in (1, 2, 5):
        made = Collator(family, processor, per_pass=1000.0, room=fit * longest * 1.01)(examples)
        held = [len(piece["labels"]) for piece in made["microbatches"]]
        assert sum(held) == 16 and held[0] == fit
