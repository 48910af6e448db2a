"""Kinds of errors in the tables and on the page of an experiment with speech."""

import json
from pathlib import Path

import pandas as pd
import pytest

from consomme.evaluate.metrics import details_of
from consomme.report.write import write_report
from consomme.results import load

SPEECH = {"task": "asr", "languages": ["en"], "metric": "wer", "metrics": ["wer"], "normaliser": "basic"}


@pytest.fixture
def reported(build_tree):
    """The tables of a report whose `soup` leaves out the last word of each hypothesis."""
    spec = json.loads(json.dumps(build_tree(claims=[], replicates=(1,), count=20) | SPEECH))
    for model in spec["models"]:
        if model["name"] == "soup":
            for entry in json.loads(Path(model["evaluation"]).read_text())["sets"]:
                path = Path(entry["path"])
                rows = [json.loads(line) for line in path.read_text().splitlines()]
                cut = [row | {"hypothesis": row["reference"].rsplit(" ", 1)[0]} for row in rows]
                path.write_text("".join(json.dumps(row) + "\n" for row in cut))
    write_report(spec, Path("results/medical-translator"), Path("results/cache"))
    return load("results").scores


def test_scores_have_them_with_intervals(reported):
    assert set(reported["metric"]) == {"wer", *details_of("asr")}
    wide = reported.pivot_table("value", ["model", "split", "set"], "metric")
    parts = wide["substitutions"] + wide["deletions"] + wide["insertions"]
    pd.testing.assert_series_equal(parts, wide["wer"], check_names=False, atol=2e-4, rtol=0)
    soup = wide.loc["soup"]
    assert (soup["deletions-end"] == soup["wer"]).all() and (soup["ser"] == 100).all() and (soup["wer"] > 0).all()
    assert (reported["ci_low"] <= reported["value"]).all() and (reported["value"] <= reported["ci_high"]).all()


def test_the_page_folds_them(reported):
    page = Path("results/medical-translator/report.html").read_text()
    (folded,) = [part for part in page.split("<details")[1:] if 'id="error-types"' in part]
    assert "<td>soup</td>" in folded and "<td>tuned/learning_rate" not in folded


def test_translation_has_none(tree):
    write_report(json.loads(json.dumps(tree)), Path("results/medical-translator"), Path("results/cache"))
    assert set(load("results").scores["metric"]) == {"bleu", "chrf"}
    assert 'id="error-types"' not in Path("results/medical-translator/report.html").read_text()
