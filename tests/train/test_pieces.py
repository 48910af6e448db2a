"""A batch in pieces: every row once, the least cost, the same gradients as the whole."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from consomme.families import family_of, load
from consomme.train.collate import Collator
from consomme.train.pieces import pieces


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
        found = pieces(sizes, per_pass)
        assert sorted(np.concatenate(found)) == list(range(8))
        order = np.argsort(-sizes.max(1), kind="stable")
        assert cost(sizes, found, per_pass) == pytest.approx(min(cost(sizes, c, per_pass) for c in every_cut(order)))


def test_known_cuts():
    cut = lambda lengths, *given: [rows.tolist() for rows in pieces(np.array(lengths)[:, None], *given)]  # noqa: E731
    assert cut([5, 5, 5, 5], 2.0) == [[0, 1, 2, 3]]
    assert cut([1, 100, 1, 100], 0.5) == [[1, 3], [0, 2]]
    assert cut([1, 100, 1, 100], 50.0) == [[1, 3, 0, 2]]
    assert cut([7], 2.0) == [[0]]


def test_no_piece_is_larger_than_the_room_but_a_row_that_is():
    sizes = np.random.default_rng(0).integers(5, 90, (60, 2))
    for rows in pieces(sizes, 64.0, 300):
        assert len(rows) * sizes[rows].max() <= 300
    assert [len(rows) for rows in pieces(np.array([[400], [10], [10]]), 64.0, 30)] == [1, 2]


def test_random_batches_waste_little():
    lengths = np.random.default_rng(0).lognormal(2.5, 0.5, (64, 1))
    whole = lengths.sum() / (64 * lengths.max())
    cut = pieces(lengths, 2.0)
    assert whole < 0.5 and lengths.sum() / sum(len(rows) * lengths[rows].max() for rows in cut) > 0.85


@pytest.mark.parametrize("name", ["translator", "recogniser"])
def test_the_pieces_have_the_gradient_of_the_batch(name, request):
    from consomme.data.prepared import Rows
    from consomme.train import losses

    folder = request.getfixturevalue(name)
    corpus = request.getfixturevalue("pairs" if name == "translator" else "tones")
    family, model, rows = family_of(folder), load(folder), Rows.open([corpus])
    languages = ["en", "fr"] if name == "translator" else ["en"]
    processor = family.processor(folder, languages)
    examples = [
        {
            "features": family.features(processor, rows.source(i)),
            "labels": family.labels(processor, rows.target(i), languages),
            "seconds": 1.0,
        }
        for i in range(8)
    ]

    def gradients(per_pass):
        batch = Collator(family, processor, per_pass=per_pass)(examples)
        items = sum(int((p["labels"] != losses.IGNORED).sum()) for p in batch["pieces"])
        model.zero_grad()
        for piece in batch["pieces"]:
            labels = piece.pop("labels")
            if family.objective == "ctc":
                frames = family.frames(model, piece)
                loss = losses.ctc(model(**piece).logits, labels, frames, model.config.pad_token_id, len(examples))
            else:
                piece["decoder_input_ids"] = family.decoder_inputs(model, labels)
                loss = losses.seq2seq(model(**piece).logits, labels, 0.0, items)
            loss.backward()
        return len(batch["pieces"]), [p.grad.clone() for p in model.parameters() if p.grad is not None]

    (one, whole), (many, summed) = gradients(1000.0), gradients(0.01)
    assert one == 1 < many
    for a, b in zip(whole, summed, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
