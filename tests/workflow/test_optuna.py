"""A sweep that Optuna samples, from the first generation on; stopped in between; and what more trials start."""

import json

import pandas as pd
import pytest

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

MODELS = """
untrained:
  from: {scratch: {family: ctc, num_hidden_layers: 2, hidden_size: 16, num_attention_heads: 2, intermediate_size: 16}}
tuned: {train: untrained, max_steps: 2, per_device_train_batch_size: 4}
mean: {average: tuned}
"""


def search(place, n):
    spaces = {"learning_rate": {"log_uniform": [1e-4, 1e-2]}, "data.share": [0.5, 1.0]}
    place.change(models__tuned__sweep={"optuna": {"n": n, "batch": 2, "seed": 3, **spaces}})


def started(work):
    return {name: n for name, n in work.jobs.items() if name.split()[0] in ("train", "average", "start")}


def trained(place):
    """Run -> the provenance of its training."""
    found = [json.loads(p.read_text()) for p in (place.folder / "results/e/models").glob("tuned-*/provenance.json")]
    return {r["label"]["run"]: r for r in found if r["verb"] == "train"}


def point(record):
    return record["settings"]["learning_rate"], record["share"]


def test_later_trials_are_found_from_earlier_ones_and_are_the_same_after_a_stop(recorded, tmp_path_factory):
    import yaml

    place = recorded
    place.change(models=yaml.safe_load(MODELS), claims=[{"model": "mean", "beats": "tuned/best", "on": "t"}])
    search(place, 3)
    twin = place.copy(tmp_path_factory.mktemp("twin") / "place")
    made = started(place.run("--keep-going", "models"))
    assert made == {"start untrained": 1, "train tuned": 3, "average tuned": 2, "average mean": 1}
    found = trained(place)
    assert set(found) == {"trial=1", "trial=2", "trial=3"}
    assert len({point(record) for record in found.values()}) == 3
    third = found["trial=3"]
    assert third["trial"] == {
        "number": 3,
        "values": {"learning_rate": third["settings"]["learning_rate"], "data.share": third["share"]},
    }
    assert started(place.run("--keep-going", "models", dry=True)) == {}

    # the number grows by one, which has the second place of its generation, and then by another generation
    search(place, 4)
    assert started(place.run("--keep-going", "models", dry=True)) == {
        "train tuned": 1,
        "average tuned": 1,
        "average mean": 1,
    }
    search(place, 5)
    assert started(place.run()) == {"train tuned": 2, "average tuned": 2, "average mean": 1}
    grown = trained(place)
    assert [point(grown[f"trial={n}"]) for n in (1, 2, 3)] == [point(found[f"trial={n}"]) for n in (1, 2, 3)]

    # the values stand where people look
    table = pd.read_csv(place.folder / "results/e/runs.tsv", sep="\t", dtype=str, keep_default_na=False)
    shown = table[table["node"] == "tuned"].set_index("run")
    for run, record in grown.items():
        assert (float(shown.loc[run, "learning_rate"]), float(shown.loc[run, "data.share"])) == point(record)
    best = json.loads((place.folder / "results/e/current/tuned/best/provenance.json").read_text())["chosen"]
    assert {t["run"]: t["values"]["learning_rate"] for t in best["study"]["trials"]} == {
        f"tuned/{run}": point(record)[0] for run, record in grown.items()
    }
    number = best["ingredients"][0].removeprefix("tuned/trial=")
    rate = f"learning_rate={point(grown[f'trial={number}'])[0]!r}"
    summary = (place.folder / "results/e/summary.md").read_text()
    assert f"Of the 5 trials of tuned, the best on the development sets is trial {number} (" in summary
    assert rate in summary and rate in (place.folder / "results/e/report.html").read_text()

    # the twin ends after its first generation, and goes on to the same trials
    search(twin, 5)
    twin.run("--omit-from", "average_models", "--keep-going", "models")
    assert set(trained(twin)) == {"trial=1", "trial=2"}
    assert started(twin.run("--keep-going", "models")) == {"train tuned": 3, "average tuned": 3, "average mean": 1}
    assert {run: r["weights"] for run, r in trained(twin).items()} == {run: r["weights"] for run, r in grown.items()}
