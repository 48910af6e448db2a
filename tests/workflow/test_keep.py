"""Weights that `keep` gives up: gone at the end of a run, made again when something needs them, and never missed."""

import json
from collections import Counter

import pytest

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def runs(place):
    return sorted(place.folder.glob("results/e/models/tuned-*"))


def weighted(place):
    """Verb of the models of `tuned` that have weights -> their number."""
    there = [f for f in runs(place) if (f / "model.safetensors").exists()]
    return Counter(json.loads((f / "provenance.json").read_text())["verb"] for f in there)


def tables(place):
    folder = place.folder / "results/e"
    return {name: (folder / name).read_text() for name in ("scores.tsv", "comparisons.tsv")}


def costs_of(place):
    return (place.folder / "results/e/costs.tsv").read_text()


def named(costs):
    return [row.split("\t")[:3] for row in costs.splitlines()]


def test_they_go_at_the_end_and_come_back_for_what_needs_them(place):
    before = tables(place)
    sizes = {f.name: (f / "model.safetensors").stat().st_size for f in runs(place)}
    assert weighted(place) == {"train": 2, "average": 1}

    # nothing is to be done, so only the command that tidies can see it
    place.change(models__tuned__keep="best")
    assert not place.run().jobs
    said = place.consomme("run", "config.yaml")
    assert "removed the weights of 2 models of tuned" in said
    assert weighted(place) == {"average": 1}
    gone = [f for f in runs(place) if (f / "tidied.json").exists()]
    known = {f.name: json.loads((f / "tidied.json").read_text())["files"]["model.safetensors"] for f in gone}
    assert known == {f.name: sizes[f.name] for f in gone}
    # the best one's weights are its own; those of the runs are gone where they would be found again, too
    assert len(list(place.folder.glob("results/e/state/tuned-*/*/finished"))) == 1
    assert "all is whole" in place.consomme("verify")
    assert not place.run().jobs

    # a new report, with a table of costs that names them all, reads none of the weights
    place.change(claims=[{"model": "mean", "beats": "base", "on": "t"}])
    assert place.run().jobs == {"report e": 1}
    costs = costs_of(place)
    for name in ("costs.tsv", "report.html"):
        (place.folder / "results/e" / name).unlink()
    assert place.run().jobs == {"measure size and speed of e's models": 1, "report e": 1}
    assert named(costs_of(place)) == named(costs)
    assert {row for row in costs.splitlines() if row.startswith("tuned/learning_rate")} < set(
        costs_of(place).splitlines()
    )

    # one more average of them: they are trained again, to the same weights, and nothing else is computed anew
    place.change(models__again={"average": "tuned"})
    assert "to be made again: 2 models of e/tuned" in place.consomme("plan", "config.yaml")
    jobs = place.run(dry=True).jobs
    assert jobs["train tuned"] == 2 and "train base" not in jobs
    done = place.run()
    assert done.jobs["train tuned"] == 2 and done.jobs["average again"] == 1
    assert weighted(place) == {"average": 1}, "and at the end they go again"
    after = tables(place)
    for name, text in before.items():
        assert set(text.splitlines()) <= set(after[name].splitlines()) or name == "comparisons.tsv"
    assert "all is whole" in place.consomme("verify")
    assert not place.run().jobs


def test_none_gives_up_the_best_too_and_best_needs_one(place):
    place.change(models__tuned__keep="none")
    place.consomme("run", "config.yaml")
    assert weighted(place) == {}
    # what was made of them is there
    assert list(place.folder.glob("results/e/models/soup-*/model.safetensors"))
    place.change(models__base__keep="best")
    refused = place.run(check=False).output
    assert "experiments.e.models.base.keep: best is the best run of a sweep" in refused
