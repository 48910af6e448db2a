"""Costs of tiny models made on the spot."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from consomme.common.files import write_json
from consomme.common.stage import main
from consomme.costs import stage as costs
from consomme.families.windows import KEY
from consomme.results.columns import COSTS
from consomme.speed import rounds

ENDS = ("speed_low", "speed", "speed_high")
QUICK = {"base": 1.0, "small": 1.0}  # seconds of a round


def spec_of(*named, **more):
    return {
        "languages": ["en", "fr"],
        "decoding": {"num_beams": 1, "max_new_tokens": 8},
        "models": [{"name": n, "replicate": r, "folder": n} for n, r in named],
        "sets": ["dev"],
        "corpora": {"dev": "dev"},
    } | more


def measured(spec):
    """The rows of costs.tsv."""
    Path("spec.json").write_text(json.dumps(spec))
    main(costs.run, "", ["--spec", "spec.json", "--out", "costs.tsv", "--threads", "1", "--device", "cpu"])
    with open("costs.tsv", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def test_models_of_one_shape_are_measured_once(models, monkeypatch):
    asked = []
    apart = rounds._apart
    monkeypatch.setattr(rounds, "LIMIT", 0.0)  # one round each
    monkeypatch.setattr(rounds, "_apart", lambda folder, *rest: asked.append(folder.name) or apart(folder, *rest))
    rows = measured(spec_of(("base", 1), ("base", 2), ("tuned", 1), ("small", 1)))
    assert asked == ["base", "small"]
    rows = {(r["model"], r["replicate"]): r for r in rows}
    base, tuned, small = rows["base", "1"], rows["tuned", "1"], rows["small", "1"]
    assert list(base) == COSTS.names and len(rows) == 4
    assert {k: base[k] for k in ("parameters", "flops", "speed")} == {
        k: tuned[k] for k in ("parameters", "flops", "speed")
    }
    assert int(small["parameters"]) < int(base["parameters"])
    assert 0 < float(small["flops"]) < float(base["flops"])
    assert 0 < float(base["speed_low"]) == float(base["speed"]) == float(base["rounds"]) == float(base["speed_high"])
    assert base["decoding"] == "max_new_tokens=8, num_beams=1" and base["window"] == ""
    assert base["speed_unit"] == "tokens/s" and float(base["memory"]) > 10
    assert int(base["bytes"]) == Path("base/model.safetensors").stat().st_size


@pytest.fixture
def scripted(models, monkeypatch):
    """scripted(base=SPEEDS, small=SPEEDS) measures `base` and `small`, whose rounds take `seconds` and have the speeds of
    these functions of their number. Returns the rows by model, and the models in the order of their rounds."""
    clock, asked = [0.0], []

    def measure_both(seconds, **speed):
        def apart(folder, *rest):
            number = asked.count(folder.name)
            asked.append(folder.name)
            clock[0] += seconds[folder.name]
            found = {"parameters": 1, "flops": None if number else 7.0, "memory": 10.0 + number, "window": ""}
            return found | {"speed": speed[folder.name](number), "speed_unit": "tokens/s", "decoding": ""}

        monkeypatch.setattr(rounds, "_apart", apart)
        monkeypatch.setattr(rounds.time, "monotonic", lambda: clock[0])
        return {row["model"]: row for row in measured(spec_of(("base", 1), ("small", 1)))}, asked

    return measure_both


def test_rounds_take_turns_until_the_median_is_known_to_a_twentieth(scripted):
    rows, asked = scripted(QUICK, base=lambda n: 100.0 + n % 2, small=lambda n: 200.0 if n else 150.0)
    # of six to eight rounds the extremes are the interval; of nine the slowest is left out
    assert asked == ["base", "small"] * 6 + ["small"] * 3
    assert [float(s) for s in rows["base"]["rounds"].split()] == [100, 101, 100, 101, 100, 101]
    assert [float(rows["base"][key]) for key in ENDS] == [100, 100.5, 101]
    assert [float(rows["small"][key]) for key in ENDS] == [200, 200, 200]
    assert float(rows["base"]["memory"]) == 15 and rows["base"]["flops"] == "7"


def test_a_busy_machine_is_given_up_after_twelve_rounds(scripted):
    rows, asked = scripted(QUICK, base=lambda n: 100.0 + 50 * (n % 2), small=lambda n: 200.0)
    assert (asked.count("base"), asked.count("small")) == (12, 6)
    assert [float(rows["base"][key]) for key in ENDS] == [100, 125, 150]


def test_a_slow_model_has_one_round_at_least_and_about_half_a_minute(scripted):
    rows, asked = scripted({"base": 40.0, "small": 11.0}, base=lambda n: 1.0, small=lambda n: 2.0 + n)
    assert asked == ["base", "small", "small", "small"]
    assert [float(rows["small"][key]) for key in ENDS] == [2, 3, 4]


def test_a_model_of_short_windows_is_measured_in_both(tmp_path, folders, speech, monkeypatch):
    """In the full one together with its base, which has no other."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rounds, "LIMIT", 0.0)
    shutil.copytree(folders("whisper"), "base")
    config = json.loads(Path("base/config.json").read_text())
    write_json(Path("base/config.json"), {k: v for k, v in config.items() if k != KEY})
    shutil.copytree("base", "tuned")
    write_json(Path("tuned/config.json"), config | {KEY: "short"})
    speech("dev")
    spec = spec_of(("base", 1), ("tuned", 1), languages=["en"])
    rows = measured(spec)
    assert [(r["model"], r["window"]) for r in rows] == [("base", "full"), ("tuned", "full"), ("tuned", "short")]
    base, full, short = rows
    assert full["speed"] == base["speed"] and full["flops"] == base["flops"]
    assert float(short["flops"]) < 0.8 * float(full["flops"])
    rows = measured(spec | {"decoding": {**spec["decoding"], "window": "short"}})
    assert [(r["model"], r["window"]) for r in rows] == [("base", "short"), ("tuned", "short")]
