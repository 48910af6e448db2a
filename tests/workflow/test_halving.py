"""A sweep that stops runs early, from the first rung to the report; and what a change of it starts."""

import json
from collections import Counter

import pandas as pd
import pytest

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

RATES = [1e-3, 2e-3, 3e-3]
MODELS = """
untrained:
  from: {scratch: {family: ctc, num_hidden_layers: 2, hidden_size: 16, num_attention_heads: 2, intermediate_size: 16}}
tuned: {train: untrained, max_steps: 4, per_device_train_batch_size: 4}
mean: {average: tuned}
"""


def halved(place, rungs, keep):
    sweep = {"grid": {"learning_rate": RATES}, "halving": {"rungs": rungs, "keep": keep}}
    place.change(models__tuned__sweep=sweep)


def started(place):
    """The jobs for models that a run would start."""
    jobs = place.run("models", dry=True).jobs
    return {name: n for name, n in jobs.items() if name.split()[0] in ("train", "average", "start")}


def records(place):
    """Run -> its provenance."""
    folder = place.folder / "results/e/current/tuned"
    return {p.name: json.loads((p / "provenance.json").read_text()) for p in sorted(folder.iterdir())}


def weights(place, steps):
    """Digest of the training -> weights, of the models of `tuned` that took so many steps."""
    found = [json.loads(p.read_text()) for p in (place.folder / "results/e/models").glob("tuned-*/provenance.json")]
    return {r["digest"]: r["weights"] for r in found if r["verb"] == "train" and r["steps"] == steps}


def test_the_worse_runs_are_stopped_and_nothing_is_trained_twice(recorded):
    import yaml

    place = recorded
    place.change(models=yaml.safe_load(MODELS), claims=[{"model": "mean", "beats": "tuned/best", "on": "t"}])
    halved(place, [2, 4], "1/2")
    # a job a rung and run, a choice between them, and the best at the end
    wanted = Counter(
        {"start untrained": 1, "train tuned": 6, "average tuned": 2, "average mean": 1, "evaluate tuned": 4}
    )
    made = place.run()
    assert {name: made.jobs[name] for name in wanted} == wanted
    found = records(place)
    best = found.pop("best")
    (whole,) = (name for name, record in found.items() if "stopped" not in record)
    stopped = [record["stopped"] for name, record in found.items() if name != whole]
    assert {name: record["steps"] for name, record in found.items()} == dict.fromkeys(found, 2) | {whole: 4}
    # the place of a run is that of its score, an error rate
    assert sorted((s["rank"], s["of"], s["keep"], s["step"]) for s in stopped) == [(2, 3, 1, 2), (3, 3, 1, 2)]
    assert [s["score"] for s in sorted(stopped, key=lambda s: s["rank"])] == sorted(s["score"] for s in stopped)
    assert best["chosen"]["ingredients"] == [f"tuned/{whole}"]
    mean = json.loads((place.folder / "results/e/current/mean/provenance.json").read_text())
    assert mean["left_out"] == {f"tuned/{name}": "stopped at step 2" for name in found if name != whole}
    told = "tuned: of 3 runs 2 at step 2 were stopped, and left out of every average and of tuned/best."
    summary = (place.folder / "results/e/summary.md").read_text()
    # no run that was left out is what the rest is compared with
    assert told in summary and f"From tuned/{whole} to mean" in summary
    assert "stopped at step 2" in (place.folder / "results/e/report.html").read_text()
    table = pd.read_csv(place.folder / "results/e/runs.tsv", sep="\t", dtype=str, keep_default_na=False)
    shown = dict(zip(table["run"], table["stopped_at"], strict=True))
    assert {name: shown[name] for name in found} == dict.fromkeys(found, "2") | {whole: ""}
    assert place.run(dry=True).jobs == Counter()

    # a rung in between: the first one and its choice stay
    halved(place, [2, 3, 4], "1/2")
    assert started(place) == {"train tuned": 6, "average tuned": 2, "average mean": 1}
    # another share: the first rung stays, and the run that had gone on finds what it trained
    halved(place, [2, 4], "3/4")
    assert started(place) == {"train tuned": 3, "average tuned": 2, "average mean": 1}
    before = weights(place, 4)
    again = place.run("--keep-going", "models")
    after = weights(place, 4)
    assert len(before) == 1 and len(after) == 2 and before.items() <= after.items() and again.found == 1
    # back again: nothing
    halved(place, [2, 4], "1/2")
    assert started(place) == {}

    # without halving the runs are trained to their end, those in rungs have been, to the same weights
    place.change(models__tuned__sweep={"grid": {"learning_rate": RATES}})
    assert place.run("--keep-going", "models").found == 2
    assert after.items() <= weights(place, 4).items()
