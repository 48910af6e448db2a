"""Settings of a method chosen on development sets: known answers with a judge that looks at one weight, then a whole job."""

import json
from functools import partial

import pytest
from safetensors.numpy import load_file

from consomme.average.choosing import best_settings
from consomme.average.methods import TABLE
from consomme.average.methods.base import Mix
from consomme.average.stage import run
from consomme.common.errors import ConsommeError
from consomme.common.job import parse
from consomme.families import load

from .conftest import DIAL  # isort: skip
from .test_methods import Dial  # isort: skip

SCALES = [{"scale": 0.25}, {"scale": 0.5}, {"scale": 1.0}, {"scale": 2.0}]


def choose(tmp_path, parents, judge, tried, method="task_arithmetic", **settings):
    out = tmp_path / "out"
    out.mkdir(parents=True)
    mix = Mix(parents, {"method": method, "base": True, **settings}, lambda: judge, "cpu")
    chosen = best_settings(mix, tried, TABLE[method].build, out)
    json.dumps(chosen)
    return chosen, load_file(out / "model.safetensors"), out


def test_the_best_settings_are_taken_and_the_curve_is_kept(tmp_path, parents, capsys):
    """The dial of the base is 0 and those of the others sum up to 2, so a scale of 0.5 brings it to 1, its best."""
    found = parents(base=0.0, a=1.5, b=0.5)
    chosen, weights, out = choose(tmp_path, found, Dial(), SCALES)
    assert chosen["settings"] == {"scale": 0.5} and chosen["scale"] == 0.5 and weights[DIAL][0] == 1
    assert [(r["candidate"], r["value"], r["chosen"]) for r in chosen["curve"]] == [
        ("scale=0.25", 0.5, False),
        ("scale=0.5", 1.0, True),
        ("scale=1.0", 2.0, False),
        ("scale=2.0", 4.0, False),
    ]
    lines = (out / "curve.tsv").read_text().splitlines()
    assert lines[0].split("\t")[:4] == ["scale", "set", "metric", "value"] and len(lines) == 5
    assert lines[2].split("\t")[0] == "0.5" and lines[2].endswith("true")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []  # no candidate is left behind
    # the files are those of the average made with these settings by itself
    direct = tmp_path / "direct"
    direct.mkdir()
    TABLE["task_arithmetic"].build(Mix(found, {"base": True, "scale": 0.5}, lambda: None), direct)
    assert (out / "model.safetensors").read_bytes() == (direct / "model.safetensors").read_bytes()
    assert "choose: scale=0.5" in capsys.readouterr().err


def test_of_equals_the_first_and_limits_bind(tmp_path, parents):
    found = parents(base=0.0, a=1.5, b=0.5)
    equal = [{"scale": 0.25}, {"scale": 0.75}, {"scale": 0.25, "weights": [1.0, 1.0]}]  # 0.5 and 1.5 are as far from 1
    assert choose(tmp_path, found, Dial(), equal)[0]["settings"] == {"scale": 0.25}
    chosen, _, _ = choose(tmp_path / "limited", found, Dial(most=0.6), SCALES)
    assert chosen["settings"] == {"scale": 0.25}
    assert [r["admissible"] for r in chosen["curve"]] == [True, False, False, False]
    with pytest.raises(ConsommeError, match=r"scale=0\.5: g may be 9\.00 worse than base"):
        choose(tmp_path / "limited" / "none", found, Dial(most=0.1), SCALES[1:2])


def test_a_method_that_needs_no_base_and_several_settings(tmp_path, parents):
    found = parents(a=0.0, b=4.0)
    tried = [{"weights": [1.0, w]} for w in (0.0, 1 / 3, 1.0)]
    mix = Mix(found, {"method": "weighted"}, Dial, "cpu")
    out = tmp_path / "out"
    out.mkdir()
    chosen = best_settings(mix, tried, TABLE["weighted"].build, out)
    assert chosen["settings"]["weights"] == [1.0, 1 / 3] and load_file(out / "model.safetensors")[DIAL][0] == 1


def test_a_job_on_development_data(job, parents, tmp_path, capsys):
    found = parents(base=0.0, a=0.3, b=0.1)
    tried = [{"density": d, "scale": s} for d in (0.5, 1.0) for s in (0.0, 1.0)]
    limits = {"metric": "loss", "sets": {"d": {"weight": 1.0, "lose_at_most": 5, "of": "base"}}}
    make = partial(job, "ties", found, limits, base=True, choose=tried)
    run(parse(make(), ""))
    record = json.loads((tmp_path / "made" / "provenance.json").read_text())
    curve = record["chosen"]["curve"]
    best = min(curve, key=lambda row: row["value"])
    assert record["chosen"]["settings"] == {"density": best["density"], "scale": best["scale"]}
    assert [row["chosen"] for row in curve] == [row is best for row in curve] and len(curve) == 4
    assert record["settings"]["choose"] == tried and record["chosen"]["metric"] == "loss"
    assert all(row["ci_low"] < row["value"] < row["ci_high"] for row in curve)
    load(tmp_path / "made")
    # a scale of 0 is the base: its evaluation is that of the base, which the limit looks at
    assert curve[0]["value"] == curve[2]["value"]
    capsys.readouterr()
    run(parse(make(), ""))
    assert "nothing to compute" in capsys.readouterr().err


def test_a_diverged_model_takes_its_weight_out_of_all_settings(job, parents, tmp_path):
    found = parents(a=0.0, b=2.0, c=1.0)
    for name, path in found.items():
        (path / "provenance.json").write_text(json.dumps({"diverged": {"step": 3}} if name == "b" else {}))
    tried = [{"weights": [1.0, 5.0, 0.0]}, {"weights": [1.0, 5.0, 1.0]}]
    run(parse(job("weighted", found, choose=tried), ""))
    record = json.loads((tmp_path / "made" / "provenance.json").read_text())
    assert record["chosen"]["settings"]["weights"] in ([1.0, 0.0], [1.0, 1.0])
    assert record["left_out"] == {"b": "diverged at step 3"}
