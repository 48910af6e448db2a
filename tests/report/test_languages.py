"""Scores by language on the page."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from consomme.common.files import read_json, write_json
from consomme.evaluate.metrics import metric_named
from consomme.report.findings.languages import MEAN, by_language
from consomme.report.outcomes import Outcomes, read_hypotheses
from consomme.report.write import write_report


@pytest.fixture
def spec(build_tree):
    """Two test sets, one in English and French, the other in French alone."""
    made = json.loads(json.dumps(build_tree(replicates=(1,), count=20, claims=[])))
    made["languages"] = ["en", "fr"]
    for corpus in ("medical-test", "medical-dev"):
        place = Path(made["corpora"][corpus]) / "prepared.json"
        write_json(place, read_json(place) | {"languages": ["fr", "en"]})
    return made


def bleu(*paths):
    parts = [read_hypotheses(path)[1:] for path in paths]
    references, said = ([row for part in parts for row in part[side]] for side in (0, 1))
    metric = metric_named("bleu")
    return float(metric.value(metric.statistics(references, said, "verbatim").sum(axis=0)))


def paths(spec, model):
    index = read_json(next(m for m in spec["models"] if m["name"] == model)["evaluation"])
    return {e["set"]: e["path"] for e in index["sets"] if e["split"] == "test"}


def test_each_language_is_scored_over_its_rows_in_all_test_sets(spec, tmp_path):
    table, place = by_language(Outcomes(spec, tmp_path / "cache"), "bleu"), paths(spec, "soup")
    assert list(table.columns) == ["en → fr", "fr → en", MEAN]
    english, french = bleu(place["general"]), bleu(place["medical"])
    assert table.loc["soup"].tolist() == pytest.approx([english, french, (english + french) / 2])


def test_rows_of_one_language_in_several_sets_are_pooled_and_counted_once(spec, tmp_path):
    """Set `both` holds the rows of the two others again."""
    for model in spec["models"]:
        index, place = read_json(model["evaluation"]), paths(spec, model["name"])
        both = Path(model["evaluation"]).with_suffix(".both.jsonl")
        both.write_text("".join(Path(place[name]).read_text() for name in ("general", "medical")))
        entry = next(e for e in index["sets"] if e["set"] == "general" and e["split"] == "test")
        index["sets"].append(
            {**entry, "set": "both", "path": str(both), "n": 40, "fingerprint": "both"}
            | {"corpora": ["general-test", "medical-test"]}
        )
        write_json(Path(model["evaluation"]), index)
    alone = by_language(Outcomes(spec, tmp_path / "cache"), "bleu")
    for order in (["general", "medical", "both"], ["both", "general", "medical"]):
        tests = {"general": ["general-test"], "medical": ["medical-test"], "both": ["general-test", "medical-test"]}
        spec["sets"]["1"]["test"] = {name: tests[name] for name in order}
        found = by_language(Outcomes(spec, tmp_path / "cache"), "bleu")
        pd.testing.assert_frame_equal(found, alone)
    spec["sets"]["1"]["test"] = {"both": tests["both"]}  # a set that mixes languages is split by them
    pd.testing.assert_frame_equal(by_language(Outcomes(spec, tmp_path / "cache"), "bleu"), alone)


def test_the_page_has_a_column_a_language_and_their_mean(spec):
    write_report(spec, Path("results/medical-translator"), Path("cache"))
    text = Path("results/medical-translator/report.html").read_text()
    head = re.search(r'id="languages".*?<tr>(.*?)</tr>', text, re.S)[1]
    assert re.findall(r"<th[^>]*>(.*?)</th>", head) == ["model", "en → fr", "fr → en", "mean"]


def test_one_language_has_no_table_of_its_own(build_tree, tmp_path):
    spec = json.loads(json.dumps(build_tree(replicates=(1,), count=20, claims=[])))
    assert by_language(Outcomes(spec | {"languages": ["en", "fr"]}, tmp_path / "cache"), "bleu").empty
    write_report(spec, Path("results/medical-translator"), Path("cache"))
    assert "By language" not in Path("results/medical-translator/report.html").read_text()
