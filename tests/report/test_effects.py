"""How large differences are."""

import json
import math
from pathlib import Path

import pytest

from consomme.evaluate.metrics import metric_named
from consomme.report.findings.effects import Effect, effect, effect_words
from consomme.report.write import write_report
from consomme.results import load


def of(name, references, ours, theirs):
    metric = metric_named(name)
    return effect(*(metric.statistics(references, said, "verbatim", "") for said in (ours, theirs)), metric)


def test_an_error_rate_that_sank():
    references = ["a b", "c d", "e f", "g h"]
    found = of("wer", references, ["a b", "c d", "e x", "g h"], ["a x", "x x", "e f", "g h"])
    assert found == pytest.approx((-200 / 3, 50, 25, 25))
    assert effect_words(found) == "−66.7 %; rows: 50 % better, 25 % worse, 25 % equal"


def test_a_score_that_rose():
    found = of("chrf", ["abcdef", "ghijkl"], ["abcdef", "ghxjkl"], ["abxdef", "ghxjkl"])
    assert found.relative > 0 and found[1:] == (50, 0, 50)


def test_nothing_to_compare_with():
    found = of("wer", ["a"], ["b"], ["a"])
    assert math.isnan(found.relative) and found[1:] == (0, 100, 0)
    assert effect_words(found) == "rows: 0 % better, 100 % worse, 0 % equal"


def test_comparisons_have_them_and_the_page_shows_them(build_tree):
    spec = build_tree(replicates=(1, 2), count=20)
    write_report(json.loads(json.dumps(spec)), Path("results/medical-translator"), Path("results/cache"))
    results = load("results")
    table = results.comparisons
    assert ((table["better"] + table["worse"] + table["equal"] - 100).abs() < 1e-3).all()
    claim = table[table["claim"] == "2"].iloc[0]
    rows = results.scores.query("split == 'test' and set == 'medical' and metric == 'bleu'")
    values = rows.pivot_table("value", "replicate", "model")
    wanted = (100 * (values["balanced"] / values["base"] - 1)).mean()
    assert claim["relative"] == pytest.approx(wanted, abs=0.01)
    words = effect_words(Effect(*(float(claim[name]) for name in Effect._fields)))
    assert f'title="{words}"' in Path("results/medical-translator/report.html").read_text()
