"""What is asked of evidence before there is any."""

import numpy as np
import pytest

from consomme.common.evidence import of_median


@pytest.mark.parametrize(("count", "place"), [(5, 0), (6, 1), (8, 1), (9, 2), (12, 3), (25, 8), (1100, 518)])
def test_the_interval_of_the_median_is_that_of_the_sign_test(count, place):
    from scipy.stats import binomtest

    found = of_median(list(range(count, 0, -1)))
    assert found == ((place, count + 1 - place) if place else None)
    # a median with so few values below it, or fewer, would be refused
    assert place == sum(binomtest(below, count).pvalue <= 0.05 for below in range(count // 2))


def test_it_holds_the_median_in_nineteen_draws_of_twenty_whatever_the_distribution():
    draws = np.random.default_rng(1).pareto(0.8, size=(4000, 9))
    held = [low <= 2 ** (1 / 0.8) - 1 <= high for low, high in map(of_median, draws.tolist())]
    assert 0.95 <= np.mean(held) <= 0.97  # 0.961
