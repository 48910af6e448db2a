"""Cautions about settings that were chosen at the edge of what was tried."""

import json

import pytest

from consomme.report.findings.edges import edges
from consomme.report.outcomes import Outcomes


@pytest.fixture
def experiment(tmp_path):
    """An experiment whose only models are the runs of `tuned`, one for each of some settings, and tuned/best."""

    def make(tried, chosen, average=None):
        models = [
            {"name": f"tuned/{i}", "node": "tuned", "run": str(i), "verb": "train", "replicate": r, "swept": settings}
            for r in chosen
            for i, settings in enumerate(tried)
        ]
        for replicate, winner in chosen.items():
            written = {"tuned/best": {"ingredients": [f"tuned/{winner}"]}} | ({"soup": average} if average else {})
            for name, record in written.items():
                folder = tmp_path / f"{replicate}-{name.replace('/', '-')}"
                folder.mkdir()
                (folder / "provenance.json").write_text(json.dumps({"chosen": record}))
                node, _, run = name.partition("/")
                models.append({"name": name, "node": node, "run": run, "verb": "average", "replicate": replicate})
                models[-1] |= {"swept": {}, "folder": str(folder)}
        spec = {"models": models, "replicates": list(chosen), "sets": {r: {} for r in chosen}}
        return Outcomes(spec, tmp_path / "cache")

    return make


RATES = [{"learning_rate": rate, "seed": 1} for rate in (1e-5, 3e-5, 1e-4)]


@pytest.mark.parametrize(
    ("tried", "chosen", "words"),
    [
        (RATES, {"1": 2, "2": 2}, "the largest learning_rate of those tried, 0.0001:"),
        (RATES, {"1": 0}, "the smallest learning_rate of those tried, 1e-05:"),
        (RATES, {"1": 1}, None),
        (RATES, {"1": 0, "2": 2}, None),  # replicates that disagree
        (RATES[:2], {"1": 1}, None),  # of two values each is an edge
        ([{"seed": seed} for seed in (1, 2, 3)], {"1": 2}, None),
        ([{"weight_decay": value} for value in (0, 0.01, 0.1)], {"1": 0}, None),  # there is nothing below 0
        ([{"method": name} for name in "abc"], {"1": 2}, None),
    ],
)
def test_a_run_at_the_edge_of_a_sweep_is_said(experiment, tried, chosen, words):
    found = edges(experiment(tried, chosen))
    assert [line for line in found if words and words in line] == found
    assert len(found) == bool(words) and all(line.startswith("tuned/best has ") for line in found)


def test_a_coefficient_at_the_edge_of_what_an_average_tried_is_said(experiment):
    curve = [{"scale": scale, "set": "b", "chosen": scale == 1.5} for scale in (0.5, 1.0, 1.5)]
    (line,) = edges(experiment(RATES, {"1": 1}, {"settings": {"scale": 1.5}, "curve": curve}))
    assert line == "soup has the largest scale of those tried, 1.5: a better one may lie beyond."
