"""Trials of a sweep with optuna in the tables of a report."""

import json

from consomme.report.links import runs
from consomme.report.trials import with_values


def model(place, name, swept, verb="train", **record):
    folder = place / name
    folder.mkdir()
    (folder / "provenance.json").write_text(json.dumps(record))
    return {"name": f"tuned/{name}", "node": "tuned", "run": name, "verb": verb, "replicate": "", "digest": "0"} | {
        "folder": str(folder),
        "swept": swept,
    }


def test_values_that_were_found_stand_beside_those_that_were_drawn(tmp_path):
    drawn = model(tmp_path, "trial=1", {"trial": 1, "learning_rate": 1e-4, "data.share": 1.0})
    found = model(
        tmp_path,
        "trial=2",
        {"trial": 2},
        trial={"number": 2, "values": {"learning_rate": 3e-4, "data.share": 1.0}},
    )
    half = model(tmp_path, "half", {"trial": 2}, "prune")
    spec = {"models": [drawn, found, half], "experiment": "e"}
    table = runs(with_values(spec)["models"]).set_index("run")
    assert table.loc["trial=1", ["trial", "learning_rate", "data.share"]].to_list() == ["1", "0.0001", "1.0"]
    assert table.loc["trial=2", ["trial", "learning_rate", "data.share"]].to_list() == ["2", "0.0003", "1.0"]
    assert table.loc["half", ["trial", "learning_rate"]].to_list() == ["2", ""]
    assert found["swept"] == {"trial": 2}  # the spec itself is left as it was
