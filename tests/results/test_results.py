"""The tables of a run as data frames: what is written is read again, whatever the names look like."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from consomme.common.errors import ConsommeError
from consomme.results import load
from consomme.results.__main__ import described
from consomme.results.columns import COMPARISONS, COSTS, RUNS, SCORES, TABLES
from consomme.results.frames import frame, number, plain, read, typed, write
from consomme.results.searches import searches

PAGE = Path(__file__).parents[2] / "docs/results-in-pandas.md"
ODD = [
    "=1+1",
    "'=1",
    "-a",
    "@b",
    "-5",
    "nan",
    "null",
    "NA",
    "None",
    "<NA>",
    "inf",
    "1e5",
    "007",
    'with "quotes"',
    "naïve",
    "",
]


def score(model="base", **values):
    row = {"kind": "train", "replicate": "", "split": "test", "set": "general", "decoding": "0123", "metric": "wer"}
    return {**row, "model": model, "value": 12.5, "ci_low": 11.0, "ci_high": 14.0, "n": 200, "path": "p", **values}


def test_what_is_written_is_read_again(tmp_path):
    table = frame(SCORES, [score(), score("soup", value=9.00004, ci_low=None)])
    write(tmp_path / "scores.tsv", table)
    assert (tmp_path / "scores.tsv").read_text().splitlines()[2].split("\t")[7:10] == ["9.0000", "", "14.0000"]
    again = read(tmp_path / "scores.tsv", SCORES)
    pd.testing.assert_frame_equal(again, table.round(4))
    assert {name: str(kind) for name, kind in again.dtypes.items()} == {
        n: kind for n, (kind, _) in SCORES.columns.items()
    }


@pytest.mark.parametrize("name", ODD)
def test_names_that_look_like_no_value_stay_names(tmp_path, name):
    """In a model's name, a run's swept value, a path: text is what it was."""
    write(tmp_path / "scores.tsv", frame(SCORES, [score(name, path=name, set=name)]))
    row = read(tmp_path / "scores.tsv", SCORES).iloc[0]
    assert (row["model"], row["path"], row["set"]) == (name, name, name) and row["n"] == 200
    run = dict.fromkeys(RUNS.names, name) | {"optim": name}
    write(tmp_path / "runs.tsv", typed(pd.DataFrame([run]), RUNS))
    assert read(tmp_path / "runs.tsv", RUNS).iloc[0].to_dict() == run


def test_no_name_is_a_formula_in_a_spreadsheet(tmp_path):
    write(tmp_path / "scores.tsv", frame(SCORES, [score("=1+1", set="-5", path="@x", value=-1.5)]))
    cells = (tmp_path / "scores.tsv").read_text().splitlines()[1].split("\t")
    assert {"'=1+1", "-5", "'@x", "-1.5000"} <= set(cells) and "=1+1" not in cells


def test_tabs_and_lines_in_a_name_do_not_break_the_table(tmp_path):
    write(tmp_path / "scores.tsv", frame(SCORES, [score("a\tb\nc"), score("d")]))
    assert list(read(tmp_path / "scores.tsv", SCORES)["model"]) == ["a b c", "d"]
    with open(tmp_path / "scores.tsv", newline="") as stream:  # any reader of tab-separated text agrees
        assert [row["n"] for row in csv.DictReader(stream, delimiter="\t")] == ["200", "200"]


def test_what_does_not_apply_is_missing():
    exported = frame(COSTS, [{"model": "out", "replicate": "", "bytes": 7}]).iloc[0]
    assert exported["bytes"] == 7 and exported["speed_unit"] == ""
    assert pd.isna(exported["parameters"]) and pd.isna(exported["speed"])
    claim = plain(frame(COMPARISONS, [{"claim": 1, "margin": None, "p": 0.5, "not_a_column": 3}]))[0]
    assert claim["claim"] == "1" and claim["margin"] is None and claim["p"] == 0.5 and "not_a_column" not in claim
    assert json.loads(json.dumps(claim)) == claim


def test_numbers():
    assert [number(x) for x in (1.0, -0.00001, None, float("nan"), pd.NA)] == ["1.0000", "0.0000", "", "", ""]


def test_a_table_of_before_a_column_was_added_is_read(tmp_path):
    (tmp_path / "costs.tsv").write_text("model\treplicate\tparameters\tspeed\nbase\t\t1000\t3.5\n")
    row = read(tmp_path / "costs.tsv", COSTS).iloc[0]
    assert row["parameters"] == 1000 and row["speed"] == 3.5 and pd.isna(row["speed_low"]) and row["device"] == ""


# -- searches ----------------------------------------------------------------------------------------------------------
def test_every_kind_of_search_is_a_row_each():
    point = {"alpha": 0.5, "set": "d", "metric": "wer", "value": 9.0, "ci_low": 8.0, "ci_high": 10.0}
    greedy = [
        {"step": 1, "candidate": "t/a=1", "score": 2.0, "kept": True},
        {"step": 2, "candidate": "t/a=2", "score": 3.0, "kept": False},
    ]
    layers = {
        "encoder": {"kept": [1], "dropped": [2, 3], "metric": "wer", "trace": [{"step": 1, "layer": 2, "objective": 5.0}, {"rank": 1, "layers": [2, 3], "objective": 4.0}]},
        "decoder": {"kept": [1, 2], "dropped": [], "metric": "loss", "trace": [{"layer": 1, "influence": 0.2}, {"step": 10, "loss": 3.0}]},
    }  # fmt: skip
    found = searches(
        {
            ("balanced", "1"): {
                "chosen": {"curve": [{**point, "objective": -9.0, "admissible": True, "chosen": True}]}
            },
            ("least", "1"): {"chosen": {"curve": [{**point, "model": "half", "parameters": 7, "chosen": False}]}},
            ("greedy", "1"): {"chosen": {"metric": "wer", "trace": greedy}},
            ("shallow", "1"): {"chosen": {"layers": layers}},
            ("base", "1"): {"settings": {}},
            ("plain", "1"): {"chosen": None},
        }
    )
    shown = found[["model", "part", "step", "candidate", "metric", "value", "chosen"]].astype(object)
    assert shown.where(shown.notna(), None).values.tolist() == [
        ["balanced", "", None, "", "wer", 9.0, True],
        ["least", "", None, "half", "wer", 9.0, False],
        ["greedy", "", 1, "t/a=1", "wer", 2.0, True],
        ["greedy", "", 2, "t/a=2", "wer", 3.0, False],
        ["shallow", "encoder", 1, "2", "wer", 5.0, True],
        ["shallow", "encoder", 1, "2 3", "wer", 4.0, True],
        ["shallow", "decoder", None, "1", "influence", 0.2, False],
        ["shallow", "decoder", 10, "", "loss", 3.0, None],
    ]
    assert found["alpha"].tolist()[:1] == [0.5] and found["parameters"].tolist()[1] == 7


# -- a folder of results -----------------------------------------------------------------------------------------------
@pytest.fixture
def results(tmp_path):
    """`speech` is finished, with a model that was fetched from `older`; `started` has costs alone; a cache is beside them."""
    root = tmp_path / "results"
    (root / "cache").mkdir(parents=True)
    runs = [
        ("base", "base", "", "train", "", "d0", "results/older/models/base-d0"),
        ("tuned/a=NA", "tuned", "a=NA", "train", "", "d1", "results/speech/models/tuned-d1"),
    ]
    (root / "speech").mkdir()
    write(root / "speech/runs.tsv", typed(pd.DataFrame(runs, columns=RUNS.names).assign(a=["", "NA"]), RUNS))
    rows = [
        score("base", split=s, set=n, value=v)
        for s in ("dev", "test")
        for n, v in (("general", 12.5), ("domain", 40.0))
    ]
    rows += [
        score("tuned/a=NA", split=s, set=n, value=v)
        for s in ("dev", "test")
        for n, v in (("general", 15.0), ("domain", 21.0))
    ]
    write(root / "speech/scores.tsv", frame(SCORES, rows))
    for folder, step in (("older/models/base-d0", 4), ("speech/models/tuned-d1", 2)):
        (root / folder).mkdir(parents=True)
        lines = [
            {"step": n, "loss": 1.0 / n, "learning_rate": 0.1, "epoch": 0.5, "seconds": 9.0} for n in (step, 2 * step)
        ]
        (root / folder / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    evaluations = [{"step": 3, "objective": -2.0}, {"step": 4, "objective": -1.0}]
    (root / "speech/models/tuned-d1/provenance.json").write_text(json.dumps({"chosen": {"evaluations": evaluations}}))
    (root / "started").mkdir()
    (root / "started/costs.tsv").write_text(
        "\t".join(COSTS.names) + "\nbase\t\t1000\t4000\t2.5\t30\ttokens/s\t900\tcpu\t29\t31\n"
    )
    return root


def test_all_experiments_are_there_typed(results):
    found = load(results)
    assert set(found._fields) == set(TABLES)
    for name, table in TABLES.items():
        types = getattr(found, name).dtypes
        assert list(types.index[: 1 + len(table.columns)]) == ["experiment", *table.columns]
        assert [str(types[c]) for c in table.columns] == [kind for kind, _ in table.columns.values()]
    assert set(found.scores["experiment"]) == {"speech"} and set(found.costs["experiment"]) == {"started"}
    assert list(found.runs["a"]) == ["", "NA"] and found.comparisons.empty and found.searches.empty
    curves = found.curves[["experiment", "model", "step", "loss", "objective"]].astype(object)
    assert curves.where(curves.notna(), None).values.tolist() == [
        ["speech", "base", 4, 0.25, None],
        ["speech", "base", 8, 0.125, None],
        ["speech", "tuned/a=NA", 2, 0.5, None],
        ["speech", "tuned/a=NA", 3, None, -2.0],
        ["speech", "tuned/a=NA", 4, 0.25, -1.0],
    ]


def test_nothing_to_load(tmp_path):
    found = load(tmp_path)
    assert all(table.empty and table.columns[0] == "experiment" for table in found)
    with pytest.raises(ConsommeError, match="no folder"):
        load(tmp_path / "resluts")


def test_the_plan_and_the_names_of_columns_need_no_pandas():
    code = "import consomme.plan.plan, consomme.results.columns, sys; print({'pandas', 'numpy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# -- the page ----------------------------------------------------------------------------------------------------------
def test_the_code_of_the_page_runs_as_it_stands(results, monkeypatch):
    monkeypatch.chdir(results.parent)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names = {}
    for block in blocks:
        exec(block, names)
    drawn = Path("forgetting.html").read_text()
    assert "vega" in drawn and "tuned/a=NA" in drawn
    assert max(len(block.splitlines()) for block in blocks) <= 10


def test_the_page_describes_every_column():
    assert described() in PAGE.read_text(encoding="utf-8")
