"""Dropout on a processor: what stays, how often, and that nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from consomme.train.dropout import STOCK, STOCK_ATTENTION, attention, dropout, quick

SHAPE = (3, 401, 507)  # no multiple of the four numbers of a draw


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_so_many_stay_and_the_mean_is_kept(p):
    torch.manual_seed(1)
    found = dropout(torch.ones(SHAPE), p)
    stays = found != 0
    error = 4 * (p * (1 - p) / stays.numel()) ** 0.5
    assert stays.double().mean().item() == pytest.approx(1 - p, abs=error)
    assert torch.allclose(found[stays], torch.tensor(1 / (1 - p)), rtol=1e-3)
    assert found.double().mean().item() == pytest.approx(1, abs=error / (1 - p))


def test_each_place_is_drawn_for_itself():
    torch.manual_seed(1)
    stays = (dropout(torch.ones(400_000), 0.5) != 0).double()
    for distance in (1, 2, 3, 4, 8):  # four places share a draw
        both = (stays[distance:] * stays[:-distance]).mean().item()
        assert both == pytest.approx(0.25, abs=4 * 0.25 / 400_000**0.5)
    assert all(stays[i::4].mean().item() == pytest.approx(0.5, abs=4 * 0.5 / 100_000**0.5) for i in range(4))


def test_the_gradient_passes_where_the_value_does():
    x = torch.randn(50, 30, requires_grad=True)
    found = dropout(x, 0.3)
    found.sum().backward()
    torch.testing.assert_close(x.grad * x.detach(), found.detach())


def test_the_generator_decides():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, two = dropout(torch.ones(100), 0.5), dropout(torch.ones(100), 0.5)
    torch.set_rng_state(state)
    assert torch.equal(dropout(torch.ones(100), 0.5), one)
    assert not torch.equal(one, two)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float64])
def test_the_kind_of_number_stays(kind):
    assert dropout(torch.ones(8, dtype=kind), 0.5).dtype == kind


@pytest.mark.parametrize("given", [{"p": 0.0}, {"p": 1.0}, {"p": 0.4, "training": False}])
def test_where_nothing_is_drawn_it_is_torchs(given):
    x = torch.randn(20)
    assert torch.equal(dropout(x, **given), STOCK(x, **given))


# -- attention ---------------------------------------------------------------------------------------------------------
def masks() -> dict[str, torch.Tensor | None]:
    seen = torch.ones(2, 1, 5, 7, dtype=torch.bool)
    seen[1, :, :, 4:] = False
    return {"none": None, "seen": seen, "added": torch.zeros(2, 1, 5, 7).masked_fill(~seen, float("-inf"))}


@pytest.mark.parametrize("kind", ["none", "seen", "added"])
@pytest.mark.parametrize("more", [{}, {"scale": 0.5}])
def test_attention_is_torchs_but_for_the_draws(monkeypatch, kind, more):
    torch.manual_seed(2)
    query, key, value = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8), torch.randn(2, 3, 7, 8)
    mask = masks()[kind]
    monkeypatch.setattr("consomme.train.dropout.dropout", lambda x, p: x)
    found = attention(query, key, value, mask, dropout_p=0.3, **more)
    torch.testing.assert_close(found, STOCK_ATTENTION(query, key, value, mask, **more))


def test_gradients_of_attention_are_torchs_down_to_the_bias(monkeypatch):
    """T5 learns what it adds to the scores."""
    torch.manual_seed(2)
    given = [torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8), torch.randn(2, 3, 7, 8), torch.randn(1, 3, 5, 7)]
    given = [x.requires_grad_() for x in given]
    monkeypatch.setattr("consomme.train.dropout.dropout", lambda x, p: x)
    found = torch.autograd.grad(attention(*given, dropout_p=0.3).square().sum(), given)
    wanted = torch.autograd.grad(STOCK_ATTENTION(*given).square().sum(), given)
    for mine, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, other)


def test_causal_attention_is_torchs_but_for_the_draws(monkeypatch):
    query, key, value = torch.randn(2, 3, 6, 8), torch.randn(2, 3, 6, 8), torch.randn(2, 3, 6, 8)
    monkeypatch.setattr("consomme.train.dropout.dropout", lambda x, p: x)
    found = attention(query, key, value, dropout_p=0.3, is_causal=True)
    torch.testing.assert_close(found, STOCK_ATTENTION(query, key, value, is_causal=True))


def test_attention_with_draws_is_torchs_in_the_mean():
    torch.manual_seed(3)
    query, key, value = torch.randn(1, 2, 4, 8), torch.randn(1, 2, 6, 8), torch.randn(1, 2, 6, 8)
    many = torch.stack([attention(query, key, value, dropout_p=0.2) for _ in range(4000)])
    error = 5 * many.std(0) / 4000**0.5
    assert ((many.mean(0) - STOCK_ATTENTION(query, key, value)).abs() < error).all()


def test_a_query_that_may_look_nowhere_gives_numbers():
    mask = torch.zeros(1, 1, 2, 3, dtype=torch.bool)
    found = attention(torch.randn(1, 1, 2, 4), torch.randn(1, 1, 3, 4), torch.randn(1, 1, 3, 4), mask, dropout_p=0.1)
    assert found.isfinite().all()


# -- where it is used --------------------------------------------------------------------------------------------------
def test_it_stands_in_for_torchs_only_while_it_is_open():
    module = torch.nn.Dropout(0.5)
    torch.manual_seed(7)
    mine = dropout(torch.ones(50), 0.5)
    torch.manual_seed(7)
    with pytest.raises(KeyError), quick():
        assert torch.equal(module(torch.ones(50)), mine)
        assert functional.scaled_dot_product_attention is attention
        raise KeyError
    assert functional.dropout is STOCK
    assert functional.scaled_dot_product_attention is STOCK_ATTENTION


def test_a_translator_is_trained_with_it_and_judged_without(
    tmp_path, translator, pairs, sentences, place, job, monkeypatch
):
    from consomme.train import stage

    calls = []

    def noted(input, p=0.5, training=True, inplace=False):
        calls.append((p, training))
        return dropout(input, p, training, inplace)

    monkeypatch.setattr("consomme.train.dropout.dropout", noted)
    dev = sentences(place / "dropout-pairs", 4, seed=5)
    stage.run(
        job(tmp_path, translator, {"pairs": pairs}, {"dropout-pairs": dev}, max_steps=2, eval_steps=1, dropout=0.3)
    )
    assert (0.3, True) in calls
    assert {training for _, training in calls} == {True}
    assert functional.dropout is STOCK
