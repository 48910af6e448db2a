"""Checkpoints trained elsewhere: averaged, chosen and scored with no training at all, and trained further where asked."""

from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def test_given_checkpoints_become_models_like_any_other(place):
    config = place.config
    trained = sorted((place.folder / "results/e/models").glob("tuned-*"))
    for number, folder in enumerate(
        f for f in trained if json.loads((f / "provenance.json").read_text())["verb"] == "train"
    ):
        (place.folder / "elsewhere").mkdir(exist_ok=True)
        folder.rename(place.folder / "elsewhere" / f"run-{number}")
    models = {
        "given": {"from": {"folders": ["elsewhere/run-*"]}},
        "mean": {"average": "given"},
        "soup": {"average": "given", "method": "greedy"},
    }
    claims = [{"model": "soup", "beats": "given/best", "on": "t"}]
    place.write(config | {"experiments": {"e": config["experiments"]["e"] | {"models": models, "claims": claims}}})
    work = place.run()
    assert not any("train" in job for job in work.jobs)
    summary = (place.folder / "results/e/summary.md").read_text()
    assert "soup beats given/best on t" in summary and "the best run, given/best" in summary
    # and on from one of them: its layers can be followed back to it
    more = {"further": {"train": "given/best", "max_steps": 2, "per_device_train_batch_size": 4}}
    more |= {"half": {"prune": "further", "layers": {"encoder": {"drop": "1/2", "by": "uniform"}}}}
    more |= {"healed": {"train": "half", "max_steps": 2, "distil_from": "further", "distil": {"hidden": 0.5}}}
    place.change(models=models | more)
    work = place.run()
    assert {job: n for job, n in work.jobs.items() if job.startswith("train")} == {
        "train further": 1,
        "train healed": 1,
    }
    record = json.loads((place.folder / "results/e/current/healed/provenance.json").read_text())
    assert record["lineage"]["layers"] == {"encoder": [1]} and record["distilled_layers"] == {"encoder": [1]}
