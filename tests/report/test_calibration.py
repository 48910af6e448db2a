"""How often the tests of a report err, briefly and with wide bounds; bench/evidence.py measures it."""

import importlib.util
import sys
from pathlib import Path

import pytest

TRIALS = 300


@pytest.fixture(scope="module")
def bench():
    place = Path(__file__).parents[2] / "bench/evidence.py"
    spec = importlib.util.spec_from_file_location("bench_evidence", place)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.DRAWS, module.SENTENCES = 400, 500
    return module


@pytest.mark.parametrize("metric", ["wer", "bleu"])
def test_of_equal_models_little_is_said(bench, metric):
    found = bench.rates(bench.World(metric, 60), TRIALS)
    assert 1 < found["beats, models"] < 10 and found["keeps, models"] < 6 and found["covered, models"] > 90


def test_of_equal_models_little_is_said_where_rows_come_in_clusters(bench):
    found = bench.rates(bench.World("wer", 30, 10, equal=False, cluster=0.15), TRIALS)
    assert found["beats, models"] < 10 and found["keeps, models"] < 6 and found["covered, models"] > 89


@pytest.mark.parametrize("sets", ["shared", "halves", "apart"])
def test_of_equal_recipes_little_is_said_for_the_method_however_seeds_scatter(bench, sets):
    for ratio in (0.0, 3.0):
        found = bench.rates(bench.World("wer", 150, replicates=3, ratio=ratio, sets=sets), TRIALS)
        assert found["beats"] < 9 and found["keeps"] < 6 and found["covered"] > 90
    assert found["beats, models"] > 30  # which is why it isn't the answer


def test_what_is_visible_is_seen(bench):
    world = bench.World("wer", 200, replicates=5, ratio=1.0)
    assert bench._power(world, 1, TRIALS)["shown"] > 72
